"""For a dbt step that a tool runs through its own integration: what to run, where, and how it went.

    with native.attempt("dbt_run_staging", context) as dbt:
        ...  # the tool runs dbt with native.arguments(step) in native.environment(context)

The tool's integration runs dbt. After it, dbt's own ``run_results.json`` decides, in the same way
for every tool: about success, the retry, the rows, and whether every node of the selector ran.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner import results
from ecommerce_pipeline.dbt_runner.command import PARENT_VARIABLE
from ecommerce_pipeline.dbt_runner.manifest import WAREHOUSE_VARIABLE, project_folder
from ecommerce_pipeline.dbt_runner.selection import dbt_commands
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import warehouse
from ecommerce_pipeline.storage.journal import reason

RESULTS = "run_results.json"
_COMMANDS = {step: (command, selector) for step, command, selector in dbt_commands()}


@dataclass(slots=True)
class DbtAttempt:
    """A dbt command that a tool runs now.

    Attributes:
        target: the folder in which dbt writes its artifacts.
        exit_code: dbt's, where it runs in a process of its own and the tool tells; negative where
            a signal ended it.
        result: the step's result, once the attempt has succeeded.
        is_part: whether the tool's user chose some of the selector's nodes, so that it is right
            that others do not run.
    """

    target: Path
    exit_code: int | None = None
    result: StepResult = field(default_factory=StepResult)
    is_part: bool = False


def arguments(step: str) -> list[str]:
    """The dbt command of a step, such as ``["run", "--selector", "staging"]``.

    Raises:
        KeyError: it is no dbt step.
    """
    command, selector = _COMMANDS[step]
    return [command, "--selector", selector]


def environment(context: StepContext) -> dict[str, str]:
    """The environment in which dbt runs on the warehouse of the run's folder.

    dbt's folders are among the variables: project, profile, target and log. With them the process
    that calls this has to start ``pipeline-dbt`` itself: it ends with that process.
    """
    project = str(project_folder())
    return {
        **stated_environment(),
        WAREHOUSE_VARIABLE: str(context.run.path.resolve() / context.run.warehouse.name),
        "DBT_PROJECT_DIR": project,
        "DBT_PROFILES_DIR": project,
        "DBT_TARGET_PATH": str(context.run.dbt_target),
        "DBT_LOG_PATH": str(results.dbt_log(context).parent),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        PARENT_VARIABLE: str(os.getpid()),
    }


@contextmanager
def attempt(step: str, context: StepContext) -> Iterator[DbtAttempt]:
    """For the block, in which a tool runs a step's dbt command: one attempt of the step.

    An error that the tool raises because nodes failed is replaced by one that names them; another
    one passes.

    Raises:
        PipelineError: a node failed or did not run, dbt did not start or was killed, somebody
            clears the run's folder, there is no warehouse, it stays locked, or the journal cannot
            be written.
    """
    with steps.attempt(step, context) as this:
        with warehouse.connect(context.run.warehouse):
            pass  # waits for who holds it, and names them; dbt would end before its first node
        dbt = DbtAttempt(context.run.dbt_target)
        (dbt.target / RESULTS).unlink(missing_ok=True)  # an earlier command's
        try:
            yield dbt
        except PipelineError:
            raise
        except Exception as error:
            explain(step, context, dbt, error)
            raise
        this.result = dbt.result = step_result(step, context, dbt)


def explain(step: str, context: StepContext, dbt: DbtAttempt, error: Exception) -> None:
    """Raise what dbt's results say of a tool's error; return where they say nothing.

    Raises:
        PipelineError: nodes failed or did not run, or dbt did not start.
    """
    command, selector = _COMMANDS[step]
    try:
        found = _kept_results(step, context, dbt)
    except FileNotFoundError:
        if dbt.exit_code is not None:
            raise _without_results(step, context, dbt, reason(error)) from error
        return
    results.check(found, context, command, selector, is_part=dbt.is_part)


def step_result(step: str, context: StepContext, dbt: DbtAttempt) -> StepResult:
    """What a dbt command that has ended did: rows of each table, nodes by status, warnings.

    dbt's results are kept in the run's folder.

    Raises:
        PipelineError: a node failed or did not run, dbt did not start or was killed, or the
            warehouse stays locked.
    """
    command, selector = _COMMANDS[step]
    try:
        found = _kept_results(step, context, dbt)
    except FileNotFoundError:
        raise _without_results(step, context, dbt, "it left no results") from None
    results.check(found, context, command, selector, is_part=dbt.is_part)
    with warehouse.connect(context.run.warehouse, read_only=True) as connection:
        return results.step_result(found, selector, connection)


def _kept_results(step: str, context: StepContext, dbt: DbtAttempt) -> list[results.NodeResult]:
    _, selector = _COMMANDS[step]
    found = results.read(dbt.target / RESULTS)
    record = context.run.dbt_results(selector, context.interval)
    record.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(dbt.target / RESULTS, record)
    return found


def _without_results(
    step: str, context: StepContext, dbt: DbtAttempt, problem: str
) -> PipelineError:
    command, _ = _COMMANDS[step]
    log = results.dbt_log(context)
    if dbt.exit_code is not None and dbt.exit_code < 0:
        return PipelineError(
            f"the process of dbt {command} was killed (signal {-dbt.exit_code})",
            f"read {log} and run it again",
            retryable=True,
        )
    return PipelineError(
        f"dbt {command} could not start: {problem}", f"fix the dbt project; dbt's log is {log}"
    )
