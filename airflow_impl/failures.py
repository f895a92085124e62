"""What happens when a task fails: whether it is retried, and what is noted and said of it."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.sdk import Context, RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowTaskTimeout

from ecommerce_pipeline import steps
from ecommerce_pipeline.errors import is_retryable
from ecommerce_pipeline.specification import EXTRACT_STEPS
from ecommerce_pipeline.storage import journal
from settings import step_context


class RetryRule(RetryPolicy):
    """A failed test or a refused schema fails again; a lost lock, or a time-out, may not."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,
        max_tries: int,
        context: Context | None = None,
    ) -> RetryDecision:
        """Whether the task's retries apply. Airflow does not ask where the process was killed."""
        if isinstance(exception, AirflowTaskTimeout) or is_retryable(exception):
            return RetryDecision.default()
        return RetryDecision.fail(str(exception))


def note_failure(context: Context) -> None:
    """Note a failed try in the journal where its own process could not: it was killed or stopped."""


def notify_failure(context: Context) -> None:
    """Notify once for each failed run at which step it failed and why."""
