"""The dbt steps: each runs one dbt command on one selector of ``selectors.yml``.

Unit tests are left to the test suite, as dbt advises: no data can change their outcome.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner import results, runner
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import warehouse

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult


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
        outcome = runner.invoke(
            [command, "--selector", selector, "--no-write-json"],
            folder=warehouse_file.parent,
            target=context.run.dbt_target,
            logs=results.dbt_log(context).parent,
        )
        _keep_results(outcome, record, command, context)
        found = results.read(record)
        results.check(found, context, command, selector)
        return results.step_result(found, selector, connection)


def _keep_results(
    outcome: dbtRunnerResult, record: Path, command: str, context: StepContext
) -> None:
    """Write dbt's ``run_results.json`` in the run's folder."""
    from dbt.artifacts.schemas.run import RunExecutionResult

    # Failed nodes are results, too. Without a result dbt failed before it ran the first node.
    if not isinstance(outcome.result, RunExecutionResult):
        raise PipelineError(
            f"dbt {command} could not start: {outcome.exception}",
            f"fix the dbt project; dbt's log is {results.dbt_log(context)}",
        ) from outcome.exception
    record.parent.mkdir(parents=True, exist_ok=True)
    outcome.result.write(str(record))
