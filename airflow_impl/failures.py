"""What follows from a failed task: whether it is retried, and what the notification says."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Context, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowTaskTimeout

from dbt_hooks import end_attempt
from ecommerce_pipeline import steps
from ecommerce_pipeline.errors import is_retryable
from ecommerce_pipeline.specification import EXTRACT_STEPS
from settings import step_context


class RetryRule(RetryPolicy):
    """A failed test or a refused schema fails again; after a lost lock or a time-out it may not."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Whether the task's retries apply. After a kill they do: Airflow asks a living process."""
        error = end_attempt(exception) or exception
        if isinstance(error, AirflowTaskTimeout) or is_retryable(error):
            return RetryDecision.default()
        return RetryDecision.fail(str(error))


def notify_failure(context: Context) -> None:
    """Notify once for each failed run at which steps it failed and why."""
    this, last, tried_at = step_context(context), step_of(context["ti"]), last_try(context)
    reason = f"{context['reason']}: read the log of its task"  # Airflow's own is general
    steps.notify_failure(this, reason, since=run_start(context), failed={last: tried_at})


def step_of(ti: Any) -> str:  # noqa: ANN401 (Airflow has several classes)
    """The step of a task instance: its task's name, or for the mapped one that of its table."""
    return str(ti.task_id) if ti.map_index < 0 else EXTRACT_STEPS[ti.map_index]


def run_start(context: Context) -> datetime:
    """When the Dag run started, or was cleared and started again."""
    return context["dag_run"].start_date or datetime.now(UTC)


def last_try(context: Context) -> datetime:
    """When the last try of the failed task started, for which Airflow's callback must ask."""
    ti, following = context["ti"], context["logical_date"] + timedelta(microseconds=1)
    with suppress(Exception):  # there is nobody to ask in ``dag.test()``
        found = ti.get_previous_ti(logical_date=following, map_index=ti.map_index)
        return found.start_date or run_start(context)
    return run_start(context)
