"""Which nodes a selector has in the project that a dbt command parsed, whatever dbt then ran."""

from __future__ import annotations

import contextlib
from typing import Any

import click


class ParsedProject:
    """A callback for dbt's events that keeps the project of the command that sends them.

    dbt leaves out nodes for reasons that no result shows, such as a resource type that an option
    excludes. So what it should have run is computed without its options.
    """

    def __init__(self) -> None:
        self._parsed: dict[str, Any] = {}

    def __call__(self, event: object) -> None:
        """Remember the command that sends the event; events of its threads have none."""
        if context := click.get_current_context(silent=True):
            self._parsed = context.obj

    def nodes(self, selector: str, resource_type: str) -> set[str]:
        """The ids of the selector's nodes of one type that dbt runs, so without ephemeral models.

        Args:
            selector: a name of the project's ``selectors.yml``.
            resource_type: ``model``, ``test`` or ``snapshot``.
        """
        from dbt.compilation import Linker
        from dbt.graph.graph import Graph
        from dbt.graph.selector import NodeSelector

        manifest, config = self._parsed["manifest"], self._parsed["runtime_config"]
        linker = Linker()
        linker.link_graph(manifest)
        unfiltered = NodeSelector(Graph(linker.graph), manifest)
        with contextlib.chdir(config.project_root):  # selectors name paths relative to it
            selected, _ = unfiltered.select_nodes(config.get_selector(selector))
        nodes = (manifest.nodes[name] for name in selected if name in manifest.nodes)
        return {
            node.unique_id
            for node in nodes
            if node.resource_type == resource_type and node.get_materialization() != "ephemeral"
        }
