"""What happens before and after each dbt command of a Cosmos operator."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from airflow.sdk import Context

from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner import native
from ecommerce_pipeline.storage import journal
from settings import step_context

logger = logging.getLogger(__name__)
_until_the_task_ends = ExitStack()


def before_dbt(context: Context, operator: Any) -> None:  # noqa: ANN401 (any Cosmos operator)
    """Give dbt the run's warehouse, in a folder that nobody clears while the task runs.

    Raises:
        PipelineError: somebody clears the folder, or it has no warehouse.
    """
    this = step_context(context)
    _until_the_task_ends.enter_context(steps.in_folder(operator.task_id, this))
    # Cosmos clones the project into a temporary folder, and finds dbt's artifacts there.
    operator.env = native.environment(this)
    del operator.env["DBT_TARGET_PATH"]


def after_dbt(project_dir: str, context: Context) -> None:
    """Note the attempt in the journal; fail with what dbt reported of its nodes.

    Raises:
        PipelineError: a node failed or did not run, or dbt did not start or was killed.
    """
    step, this = context["ti"].task_id, step_context(context)
    dbt = context["task"].subprocess_hook.sub_process
    with journal.attempt(step, this, context["ti"].start_date) as attempt:
        target = native.DbtAttempt(Path(project_dir, "target"), dbt.returncode)
        attempt.result = native.step_result(step, this, target)
    logger.info("%s: %s", step, attempt.result.summary)
