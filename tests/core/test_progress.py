"""What a person sees of a run's steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from rich.console import Console

from ecommerce_pipeline.harness.progress import Progress
from ecommerce_pipeline.storage.journal import JournalEntry

START = datetime(2025, 1, 2, 6, tzinfo=UTC)


def printed(outcome: str, **reported: dict[str, int] | dict[str, str]) -> str:
    """The line that is printed for an attempt of a quarter of a second."""
    output = StringIO()
    entry = JournalEntry(
        interval="2025-01-01T00:00:00Z/2025-01-02T00:00:00Z",
        step="load_raw",
        started_at=START,
        ended_at=START + timedelta(milliseconds=250),
        outcome=outcome,
        **reported,  # type: ignore[arg-type]  # rows or details
    )
    Progress(Console(file=output, soft_wrap=True)).step_ended(entry)
    return output.getvalue()


def test_a_step_that_succeeded_is_ok_with_its_rows() -> None:
    """A success shows the day, the step, the seconds and the rows of each table."""
    line = printed("success", rows={"orders": 1234, "customers": 5})
    assert line == (f"2025-01-01  ok      {'load_raw':<24}   0.25 s  orders 1,234, customers 5\n")


@pytest.mark.parametrize("outcome", ["failed", "killed"])
def test_a_step_that_did_not_succeed_is_failed_with_its_error(outcome: str) -> None:
    """Whatever is no success shows FAILED, never ok, and says why."""
    line = printed(outcome, details={"error": "the disk is full; free space"})
    assert line == (
        f"2025-01-01  FAILED  {'load_raw':<24}   0.25 s  the disk is full; free space\n"
    )
