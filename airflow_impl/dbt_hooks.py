"""What happens around a dbt command that Airflow starts: one attempt of a step.

dbt's modules and DuckDB are imported in the task: Airflow imports this module with each parse.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Context

from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner.manifest import WAREHOUSE_VARIABLE
from ecommerce_pipeline.storage import journal
from settings import step_context

if TYPE_CHECKING:
    from ecommerce_pipeline.dbt_runner.native import DbtAttempt

_attempt = ExitStack()  # of the task of this process, while dbt runs


def before_dbt(context: Context, operator: Any) -> None:  # noqa: ANN401 (any Cosmos operator)
    """Begin the attempt of a step, and give dbt the run's warehouse.

    Raises:
        PipelineError: somebody clears the run's folder, or it has no warehouse.
    """
    operator.callback_args = {"dbt": begin_attempt(context)}
    operator.env = environment(context)


def after_dbt(project_dir: str, context: Context, dbt: DbtAttempt) -> None:
    """End the attempt by the results that dbt has left in Cosmos's copy of the project.

    Raises:
        PipelineError: a node failed or did not run, or dbt did not start or was killed.
    """
    process = context["task"].subprocess_hook.sub_process
    process.stdout.close()  # Cosmos leaves it open
    dbt.target, dbt.exit_code = Path(project_dir, "target"), process.returncode
    end_attempt()


def before_model(context: Context, operator: Any) -> None:  # noqa: ANN401 (any Cosmos operator)
    """Do as ``before_dbt`` for a task with one model, whose task group is the step."""
    this, task = step_context(context), context["ti"].task_id
    _attempt.enter_context(journal.attempt(task, this))
    _attempt.enter_context(steps.in_folder(task.partition(".")[0], this))
    operator.env = environment(context)


def after_model(project_dir: str, context: Context) -> None:
    """Do as ``after_dbt`` for a task with one model."""
    from ecommerce_pipeline.dbt_runner import native, results

    found = results.read(Path(project_dir, "target", native.RESULTS))
    results.check_nodes(found, step_context(context), "model")
    end_attempt()


def begin_attempt(context: Context) -> DbtAttempt:
    """Begin the attempt of a dbt step, which ``end_attempt`` or a failure ends."""
    from ecommerce_pipeline.dbt_runner import native

    step, this = context["ti"].task_id, step_context(context)
    return _attempt.enter_context(native.attempt(step, this))


def end_attempt(error: BaseException | None = None) -> BaseException | None:
    """End the attempt of this process, if one is under way.

    Returns:
        The error, or in its place the one that dbt's results explain it with.

    Raises:
        PipelineError: there is no error yet, and dbt's results have one.
    """
    if error is None:
        _attempt.close()
        return None
    try:
        _attempt.__exit__(type(error), error, error.__traceback__)
    except BaseException as explained:
        return explained
    return error


def environment(context: Context) -> dict[str, str]:
    """The environment in which dbt runs, without credentials: Airflow shows it with the task."""
    from ecommerce_pipeline.dbt_runner import native
    from ecommerce_pipeline.dbt_runner.command import PARENT_VARIABLE

    # Cosmos looks for dbt's artifacts in its own copy of the project.
    left_out = ("PIPELINE_", "PG", "DBT_TARGET_PATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    return {
        name: value
        for name, value in native.environment(step_context(context)).items()
        if name in (WAREHOUSE_VARIABLE, PARENT_VARIABLE) or not name.upper().startswith(left_out)
    }
