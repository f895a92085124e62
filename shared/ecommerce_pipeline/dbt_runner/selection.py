"""Which nodes the dbt project's selectors have, whatever a command's options leave out of them.

dbt leaves out nodes for reasons that no result shows, such as a resource type that an option
excludes. So what each dbt step should run is computed without options, when the project is parsed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ecommerce_pipeline.specification import STEPS

if TYPE_CHECKING:
    from dbt.config.runtime import RuntimeConfig
    from dbt.contracts.graph.manifest import Manifest

RESOURCE_TYPES: Mapping[str, str] = {"run": "model", "test": "test", "snapshot": "snapshot"}
_TABLES = ("table", "incremental", "snapshot")


@dataclass(frozen=True, slots=True)
class Node:
    """What a dbt step runs: a model, a test or a snapshot.

    Attributes:
        unique_id: dbt's id, such as ``model.ecommerce.fct_orders``.
        name: dbt's name, such as ``fct_orders``.
        table: the quoted name of the table that it builds; None where it builds none.
    """

    unique_id: str
    name: str
    table: str | None


def dbt_commands() -> Iterator[tuple[str, str, str]]:
    """Each dbt step's name, command (``run``, ``test`` or ``snapshot``) and selector."""
    for step in STEPS:
        if step.function == "dbt:run_selector":
            command, selector = step.arguments
            yield step.name, str(command), str(selector)


def nodes_by_selector(manifest: Manifest, config: RuntimeConfig) -> dict[str, list[Node]]:
    """What each dbt step should run, by its selector; without ephemeral models."""
    return {
        selector: sorted(
            _nodes(manifest, config, selector, RESOURCE_TYPES[command]),
            key=lambda node: node.unique_id,
        )
        for _, command, selector in dbt_commands()
    }


def _nodes(
    manifest: Manifest, config: RuntimeConfig, selector: str, resource_type: str
) -> Iterator[Node]:
    from dbt.compilation import Linker
    from dbt.graph.graph import Graph
    from dbt.graph.selector import NodeSelector

    linker = Linker()
    linker.link_graph(manifest)
    unfiltered = NodeSelector(Graph(linker.graph), manifest)
    with contextlib.chdir(config.project_root):  # selectors name paths relative to it
        selected, _ = unfiltered.select_nodes(config.get_selector(selector))  # type: ignore[arg-type]  # a bool only for defaults
    for node in (manifest.nodes[name] for name in selected if name in manifest.nodes):
        materialization = node.get_materialization()
        if node.resource_type == resource_type and materialization != "ephemeral":
            table = node.relation_name if materialization in _TABLES else None
            yield Node(node.unique_id, node.name, table)
