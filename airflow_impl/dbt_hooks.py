"""What happens before and after a dbt command that Airflow starts.

DuckDB is imported in the task: Airflow imports this module each time it parses the Dag.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from airflow.sdk import Context

from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner.manifest import WAREHOUSE_VARIABLE
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.storage import journal
from settings import step_context

logger = logging.getLogger(__name__)
_until_the_task_ends = ExitStack()


def before_dbt(context: Context, operator: Any) -> None:  # noqa: ANN401 (any Cosmos operator)
    """Give dbt the run's warehouse, in a folder that nobody clears while the task runs.

    Raises:
        PipelineError: somebody clears the folder, or it has no warehouse.
    """
    from ecommerce_pipeline.dbt_runner import native

    this = step_context(context)
    step = operator.task_id.partition(".")[0]  # of a model, the step that is its task group
    _until_the_task_ends.enter_context(steps.in_folder(step, this))
    operator.env = {
        name: value for name, value in native.environment(this).items() if _is_for_dbt(name)
    }


def after_dbt(project_dir: str, context: Context) -> None:
    """Note the attempt in the journal; fail with what dbt reported of its nodes.

    Args:
        project_dir: Cosmos's copy of the project, in which dbt has left its results.
        context: the task's.

    Raises:
        PipelineError: a node failed or did not run, or dbt did not start or was killed.
    """
    note_results(Path(project_dir, "target"), context)


def after_model(project_dir: str, context: Context) -> None:
    """Note the attempt of one model, under its task's name; fail with what dbt reported of it.

    Raises:
        PipelineError: it could not be built.
    """
    from ecommerce_pipeline.dbt_runner import native, results

    this, ti = step_context(context), context["ti"]
    with journal.attempt(ti.task_id, this, ti.start_date):
        found = results.read(Path(project_dir, "target", native.RESULTS))
        results.check_nodes(found, this, "model")


def note_results(target: Path, context: Context) -> dict[str, int]:
    """Do as ``after_dbt`` for the results in a target folder; return the row counts."""
    from ecommerce_pipeline.dbt_runner import native

    step, this = context["ti"].task_id, step_context(context)
    exit_code = context["task"].subprocess_hook.sub_process.returncode
    with journal.attempt(step, this, context["ti"].start_date) as attempt:
        attempt.result = native.step_result(step, this, native.DbtAttempt(target, exit_code))
    logger.info("%s: %s", step, attempt.result.summary)
    return dict(attempt.result.rows)


def cause(error: BaseException, context: Context) -> BaseException:
    """The error, or what dbt's results in the run's folder say of it where they are of this try."""
    from ecommerce_pipeline.dbt_runner import native

    step, this = context["ti"].task_id, step_context(context)
    dbt, started = native.DbtAttempt(this.run.dbt_target), context["ti"].start_date
    try:
        if isinstance(error, Exception) and _written(dbt.target / native.RESULTS) >= started:
            native.explain(step, this, dbt, error)
    except PipelineError as found:
        return found
    except (FileNotFoundError, KeyError):  # it is no dbt step
        return error
    return error


def _is_for_dbt(variable: str) -> bool:
    # Airflow stores an operator's environment and shows it: no credential may be in it. Cosmos
    # looks for dbt's artifacts in its copy of the project.
    if variable.startswith(("PIPELINE_", "PG")):
        return variable == WAREHOUSE_VARIABLE
    return variable != "DBT_TARGET_PATH"


def _written(file: Path) -> datetime:
    return datetime.fromtimestamp(file.stat().st_mtime).astimezone()
