"""What Airflow's failure callback says: the steps of this run that failed, and why."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context, RetryAction
from airflow.sdk.exceptions import AirflowTaskTimeout

import failures
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.journal import JournalEntry

INTERVAL = DataInterval.parse("2025-01-01")
STARTED = datetime(2025, 1, 2, 6, tzinfo=UTC)


@pytest.fixture
def step_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StepContext:
    context = StepContext(RunDirectory(tmp_path), INTERVAL, source_url="sqlite:///none")
    monkeypatch.setattr(failures, "step_context", lambda _: context)
    return context


def attempted(context: StepContext, step: str, minute: int, error: str | None) -> None:
    """Note an attempt that began so many minutes after the run's start."""
    at = STARTED + timedelta(minutes=minute)
    outcome, details = ("failed", {"error": error}) if error else ("success", {})
    journal.append(context.run, JournalEntry(str(INTERVAL), step, at, at, outcome, details=details))


def notified(
    context: StepContext, task: str, *, map_index: int = -1, last_try: int = 0
) -> dict[str, Any]:
    """What the callback of a run says whose last failed task started so many minutes after it."""
    started = SimpleNamespace(start_date=STARTED + timedelta(minutes=last_try))
    values = {
        "dag_run": SimpleNamespace(start_date=STARTED),
        "logical_date": INTERVAL.start,
        "ti": SimpleNamespace(
            task_id=task, map_index=map_index, get_previous_ti=lambda **_: started
        ),
        "reason": "task_failure",
    }
    failures.notify_failure(cast("Context", values))
    return cast("dict[str, Any]", json.loads(context.run.notifications.read_text()))


def test_an_older_runs_reason_is_not_named(step_context: StepContext) -> None:
    """A run whose task was killed without a note says so, not why an earlier run had failed."""
    attempted(step_context, "load_raw", -60, "the reason of an earlier run")
    message = notified(step_context, "load_raw")
    assert message["step"] == "load_raw"
    assert "earlier run" not in str(message)
    assert "task_failure" in str(message)


def test_an_older_trys_reason_is_not_named(step_context: StepContext) -> None:
    """A task whose last try was killed is named without the reason of the try before."""
    attempted(step_context, "load_raw", 1, "the warehouse was locked")
    message = notified(step_context, "load_raw", last_try=2)
    assert message["step"] == "load_raw"
    assert "locked" not in str(message)
    assert "task_failure" in str(message)


def test_only_steps_whose_last_attempt_failed_are_named(step_context: StepContext) -> None:
    """A failure that a retry made good is no reason; of a mapped task its steps are named."""
    attempted(step_context, "extract_orders", 1, "made good by a retry")
    attempted(step_context, "extract_orders", 2, None)
    attempted(step_context, "extract_customers", 3, "the column email is missing")
    message = notified(step_context, "extract", map_index=EXTRACT_STEPS.index("extract_customers"))
    assert message["step"] == "extract_customers"
    assert "the column email is missing" in str(message)
    assert "made good" not in str(message)


@pytest.mark.parametrize(
    ("error", "action"),
    [
        (PipelineError("2 tests failed", "correct the rows"), RetryAction.FAIL),
        (PipelineError("the warehouse is locked", "wait", retryable=True), RetryAction.DEFAULT),
        (AirflowTaskTimeout("Timeout"), RetryAction.DEFAULT),
        (RuntimeError("nobody foresaw it"), RetryAction.DEFAULT),
    ],
)
def test_only_what_may_succeed_is_retried(error: BaseException, action: RetryAction) -> None:
    """A failed test ends the task at once; a lock, a time-out and the unknown leave its retries."""
    assert failures.RetryRule().evaluate(error, 1, 2).action is action
