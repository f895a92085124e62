"""What dbt reported of a step's nodes, and what follows from it: the step's result or its error."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner.manifest import selected_nodes
from ecommerce_pipeline.dbt_runner.selection import RESOURCE_TYPES, Node
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.result import StepResult

_SUCCEEDED = ("success", "pass", "warn", "no-op")
_LOCKED = "Could not set lock on file"  # DuckDB's words; dbt has no status for it
_SHOWN_NAMES = 5


@dataclass(frozen=True, slots=True)
class NodeResult:
    """dbt's result of one node.

    Attributes:
        unique_id: dbt's id of the node.
        status: dbt's word, such as ``success``, ``pass``, ``warn``, ``fail``, ``error``.
        message: dbt's message; empty where it has none.
        failures: how many rows fail a test.
    """

    unique_id: str
    status: str
    message: str
    failures: int

    @property
    def name(self) -> str:
        """The node's own name."""
        return self.unique_id.split(".")[2]

    def __str__(self) -> str:
        """The node with its number of failing rows, or else with dbt's message."""
        if self.failures:
            return f"{self.name} ({self.failures} {'row' if self.failures == 1 else 'rows'})"
        return f"{self.name} ({self.message})"


def read(file: Path) -> list[NodeResult]:
    """The results in dbt's ``run_results.json``.

    Raises:
        FileNotFoundError: there is none, as where dbt ended before it ran the first node.
    """
    return [
        NodeResult(each["unique_id"], each["status"], each["message"] or "", each["failures"] or 0)
        for each in json.loads(file.read_text())["results"]
    ]


def check(
    results: Sequence[NodeResult],
    context: StepContext,
    command: str,
    selector: str,
    *,
    is_part: bool = False,
) -> None:
    """Check that every node of the selector ran, and succeeded.

    Args:
        results: dbt's results.
        context: the step's arguments.
        command: ``run``, ``test`` or ``snapshot``.
        selector: a name of the project's ``selectors.yml``.
        is_part: whether some of its nodes may be missing.

    Raises:
        PipelineError: a node cannot be built, a test of severity error fails, or dbt did not run
            every node of the selector.
    """
    check_nodes(results, context, RESOURCE_TYPES[command])
    if not is_part:
        _check_completeness(results, selected_nodes(selector), command, selector)


def check_nodes(results: Sequence[NodeResult], context: StepContext, kind: str) -> None:
    """Check that every node that ran succeeded.

    Raises:
        PipelineError: a node, a ``model``, ``test`` or ``snapshot`` as ``kind`` says, has failed.
    """
    if failed := [result for result in results if result.status not in _SUCCEEDED]:
        raise _failure(context, kind, failed, len(results))


def step_result(
    results: Sequence[NodeResult], selector: str, connection: duckdb.DuckDBPyConnection
) -> StepResult:
    """The rows of each table that was built, how many nodes had each status, and what warns."""
    built = {result.unique_id for result in results}
    rows = {
        node.name: connection.execute(f"SELECT count(*) FROM {node.table}").fetchall()[0][0]
        for node in selected_nodes(selector)
        if node.table and node.unique_id in built
    }
    details: dict[str, str | int | float] = {**Counter(result.status for result in results)}
    if warnings := _shown(result for result in results if result.status == "warn"):
        details["warnings"] = warnings
    return StepResult(rows=rows, details=details)


def dbt_log(context: StepContext) -> Path:
    """dbt's own log of the interval's commands, with every statement it ran."""
    return context.run.dbt_target / "logs" / context.interval.label / "dbt.log"


def _check_completeness(
    results: Sequence[NodeResult], expected: Sequence[Node], command: str, selector: str
) -> None:
    ran = {result.unique_id for result in results}
    missing = [node.name for node in expected if node.unique_id not in ran]
    if missing:
        raise PipelineError(
            f"dbt {command} left out {len(missing)} of the {len(expected)} "
            f"{RESOURCE_TYPES[command]}s of the selector {selector}: {_shortened(missing)}",
            "remove what filters them: options of the environment (DBT_*) or of dbt_project.yml",
        )


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _failure(
    context: StepContext, kind: str, failed: Sequence[NodeResult], total: int
) -> PipelineError:
    if all(_LOCKED in result.message or result.status == "skipped" for result in failed):
        return PipelineError(
            f"another process held the warehouse: {failed[0].message.strip()}",
            "wait for that process or stop it, then run the interval again",
            retryable=True,
        )
    cause = "the rows at the source" if kind == "test" else "what dbt names"
    return PipelineError(
        f"{len(failed)} of {total} dbt {kind}s failed: {_shown(failed)}",
        f"correct {cause} and run the interval again; the queries are in "
        f"{context.run.dbt_target / 'compiled'}, dbt's log is {dbt_log(context)}",
    )


def _shown(results: Iterable[NodeResult]) -> str:
    return ", ".join(sorted(map(str, results)))
