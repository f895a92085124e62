"""The dbt steps: each runs one dbt command on one selector of ``selectors.yml``.

Unit tests are left to the test suite, as dbt advises: no data can change their outcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner import runner
from ecommerce_pipeline.dbt_runner.selection import SelectedNodes
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import warehouse

if TYPE_CHECKING:
    from dbt.artifacts.schemas.run import RunResult
    from dbt.cli.main import dbtRunnerResult

_SUCCEEDED = ("success", "pass", "warn", "no-op")
_RESOURCE_TYPES = {"run": "model", "test": "test", "snapshot": "snapshot"}
_SHOWN_NAMES = 5


def run_selector(context: StepContext, command: str, selector: str) -> StepResult:
    """Run a dbt command on the nodes of a selector; warnings are in the result's details.

    Args:
        context: the step's arguments.
        command: ``run``, ``test`` or ``snapshot``.
        selector: a name of the project's ``selectors.yml``.

    Raises:
        PipelineError: a node cannot be built, a test of severity error fails, dbt cannot start, did
            not run every node of the selector, or the warehouse stays locked.
    """
    record = context.run.dbt_results(selector, context.interval)
    warehouse_file = runner.warehouse_file(context)
    # dbt closes its connection after each node. As long as ours is open the process keeps DuckDB's
    # lock on the file, so that no other process gets in between two nodes; and dbt, which runs in
    # this process, shares the open database and need not open the file again for every node.
    with warehouse.connect(warehouse_file) as connection:
        record.unlink(missing_ok=True)  # or a failed attempt would show an earlier one's results
        selected = SelectedNodes(selector, _RESOURCE_TYPES[command])
        outcome = runner.invoke(
            [command, "--selector", selector, "--no-write-json"],
            folder=warehouse_file.parent,
            target=context.run.dbt_target,
            logs=runner.log_file(context).parent,
            selected=selected,
        )
        results = _recorded_results(outcome, record, command, context)
        if failed := [result for result in results if result.status not in _SUCCEEDED]:
            raise _failure(context, failed, len(results))
        _check_completeness(results, selected.ids or set(), command, selector)
        return StepResult(rows=_row_counts(connection, results), details=_details(results))


def _recorded_results(
    outcome: dbtRunnerResult, record: Path, command: str, context: StepContext
) -> Sequence[RunResult]:
    """Keep dbt's ``run_results.json`` in the run's folder, and return the results."""
    from dbt.artifacts.schemas.run import RunExecutionResult

    # Failed nodes are results, too. Without a result dbt failed before it ran the first node.
    if not isinstance(outcome.result, RunExecutionResult):
        raise PipelineError(
            f"dbt {command} could not start: {outcome.exception}",
            f"fix the dbt project; dbt's log is {runner.log_file(context)}",
        ) from outcome.exception
    record.parent.mkdir(parents=True, exist_ok=True)
    outcome.result.write(str(record))
    return outcome.result.results


def _check_completeness(
    results: Sequence[RunResult], expected: set[str], command: str, selector: str
) -> None:
    kind = _RESOURCE_TYPES[command]
    missing = sorted(expected - {result.node.unique_id for result in results})
    if missing:
        raise PipelineError(
            f"dbt {command} left out {len(missing)} of the {len(expected)} {kind}s of the selector "
            f"{selector}: {_shortened([name.split('.')[2] for name in missing])}",
            "remove what filters them: options of the environment (DBT_*) or of dbt_project.yml",
        )


def _shortened(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _failure(context: StepContext, failed: Sequence[RunResult], total: int) -> PipelineError:
    kind = str(failed[0].node.resource_type)
    cause = "the rows at the source" if kind == "test" else "what dbt names"
    return PipelineError(
        f"{len(failed)} of {total} dbt {kind}s failed: {_descriptions(failed)}",
        f"correct {cause} and run the interval again; the queries are in "
        f"{context.run.dbt_target / 'compiled'}, dbt's log is {runner.log_file(context)}",
    )


def _descriptions(results: Iterable[RunResult]) -> str:
    return ", ".join(sorted(_description(result) for result in results))


def _description(result: RunResult) -> str:
    """The node with its number of failing rows, or else with dbt's message."""
    if result.failures:
        return f"{result.node.name} ({result.failures} {'row' if result.failures == 1 else 'rows'})"
    return f"{result.node.name} ({result.message})"


def _row_counts(
    connection: duckdb.DuckDBPyConnection, results: Iterable[RunResult]
) -> dict[str, int]:
    """The rows of each table that the command built."""
    return {
        result.node.name: connection.execute(
            f"SELECT count(*) FROM {result.node.relation_name}"
        ).fetchall()[0][0]
        for result in results
        if result.node.get_materialization() in ("table", "incremental", "snapshot")
    }


def _details(results: Sequence[RunResult]) -> dict[str, str | int | float]:
    """How many nodes there were of each status, and which tests warn."""
    details: dict[str, str | int | float] = {**Counter(str(r.status) for r in results)}
    if warnings := _descriptions(r for r in results if r.status == "warn"):
        details["warnings"] = warnings
    return details
