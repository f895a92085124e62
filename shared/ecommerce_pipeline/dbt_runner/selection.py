"""Which nodes a selector has in the project that a dbt command parsed, whatever dbt then ran."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dbt.config.runtime import RuntimeConfig
    from dbt.contracts.graph.manifest import Manifest


class SelectedNodes:
    """A callback for dbt's events that finds the nodes of a selector in the command's own project.

    dbt leaves out nodes for reasons that no result shows, such as a resource type that an option
    excludes. So what it should have run is computed without its options.

    Attributes:
        ids: the ids of the selector's nodes of one type that dbt runs, so without ephemeral models;
            None until ``find`` was called, or where dbt did not get as far as parsing.
    """

    def __init__(self, selector: str, resource_type: str) -> None:
        """Prepare to find nodes.

        Args:
            selector: a name of the project's ``selectors.yml``.
            resource_type: ``model``, ``test`` or ``snapshot``.
        """
        self._selector = selector
        self._resource_type = resource_type
        self._parsed: dict[str, Any] = {}
        self.ids: set[str] | None = None

    def __call__(self, event: object) -> None:
        """Remember the command that sends the event; events of its threads have none."""
        if context := click.get_current_context(silent=True):
            self._parsed = context.obj

    def find(self) -> None:
        """Find the nodes once dbt has ended, and let go of its project."""
        # The project has semaphores, which must be freed with dbt's own.
        parsed, self._parsed = self._parsed, {}
        manifest, config = parsed.get("manifest"), parsed.get("runtime_config")
        if manifest is not None and config is not None:
            self.ids = self._nodes(manifest, config)

    def _nodes(self, manifest: Manifest, config: RuntimeConfig) -> set[str]:
        from dbt.compilation import Linker
        from dbt.graph.graph import Graph
        from dbt.graph.selector import NodeSelector

        linker = Linker()
        linker.link_graph(manifest)
        unfiltered = NodeSelector(Graph(linker.graph), manifest)
        with contextlib.chdir(config.project_root):  # selectors name paths relative to it
            selected, _ = unfiltered.select_nodes(config.get_selector(self._selector))  # type: ignore[arg-type]  # a bool only for defaults
        nodes = (manifest.nodes[name] for name in selected if name in manifest.nodes)
        return {
            node.unique_id
            for node in nodes
            if node.resource_type == self._resource_type
            and node.get_materialization() != "ephemeral"
        }
