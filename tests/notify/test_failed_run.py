"""What the message of a failed run names: the steps that failed in this run, and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.journal import JournalEntry

INTERVAL = DataInterval.parse("2025-01-01")
STARTED = datetime(2025, 1, 2, 6, tzinfo=UTC)


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    return StepContext(RunDirectory(tmp_path), INTERVAL, source_url="sqlite:///none")


def attempted(context: StepContext, step: str, minute: int, error: str | None) -> None:
    """Note an attempt that began so many minutes after the run's start."""
    at = STARTED + timedelta(minutes=minute)
    outcome, details = ("failed", {"error": error}) if error else ("success", {})
    journal.append(context.run, JournalEntry(str(INTERVAL), step, at, at, outcome, details=details))


def notified(context: StepContext, failed: Mapping[str, int] | None = None) -> tuple[str, str]:
    """The steps and the whole message; ``failed`` has the minute of each step's last attempt."""
    attempts = {
        step: STARTED + timedelta(minutes=minute) for step, minute in (failed or {}).items()
    }
    steps.notify_failure(context, "the tool's reason", since=STARTED, failed=attempts)
    message: dict[str, Any] = json.loads(context.run.notifications.read_text())
    return message["step"], str(message)


def test_the_journals_failures_are_named(context: StepContext) -> None:
    """Each step whose last attempt failed is named with its error, and one made good is not."""
    attempted(context, "publish", -60, "an earlier run's error")
    attempted(context, "extract_orders", 1, "made good")
    attempted(context, "extract_orders", 2, None)
    attempted(context, "extract_products", 3, "a column is missing")
    attempted(context, "extract_customers", 4, "a row has no key")
    step, message = notified(context)
    assert step == "extract_products, extract_customers"
    assert "a column is missing; a row has no key" in message
    for absent in ("made good", "earlier", "the tool's reason"):
        assert absent not in message


def test_a_killed_step_has_the_tools_reason(context: StepContext) -> None:
    """A step whose last attempt left no note is named without the error of the attempt before."""
    attempted(context, "load_raw", 1, "the warehouse was locked")
    step, message = notified(context, {"load_raw": 2})
    assert step == "load_raw"
    assert "locked" not in message
    assert "the tool's reason" in message


def test_what_tool_and_journal_name_is_named_once(context: StepContext) -> None:
    """A step that both name has the journal's error; one that only the tool names, the tool's."""
    attempted(context, "extract_orders", 1, "a column is missing")
    step, message = notified(context, {"extract_customers": 1, "extract_orders": 1})
    assert step == "extract_customers, extract_orders"
    assert "the tool's reason; a column is missing" in message


def test_without_a_failed_step_the_tools_reason_is_given(context: StepContext) -> None:
    """A run that failed outside any step, or whose journal cannot be read, still notifies."""
    context.run.step_journal.mkdir(parents=True)
    step, message = notified(context)
    assert step == ""
    assert "the tool's reason" in message
