"""Reading a run's history."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from ecommerce_pipeline.interval import DataInterval
from pipeline_verification.oracle.history import (
    IntervalSucceeded,
    SourceAdvanced,
    parse_history,
    runs_day_by_day,
)

DAY = "2025-01-03"
WHOLE_DAY = "2025-01-03T00:00:00Z/2025-01-04T00:00:00Z"
NEXT_DAY = "2025-01-04T00:00:00Z/2025-01-05T00:00:00Z"


def test_events_are_read_in_order() -> None:
    """A history's entries become events, in the same order."""
    start, end = datetime(2025, 1, 3, 6, tzinfo=UTC), datetime(2025, 1, 3, 12, tzinfo=UTC)
    assert parse_history(
        [
            {"advance": DAY},
            {"interval": "2025-01-03T06:00:00Z/2025-01-03T12:00:00Z", "state": "success"},
        ]
    ) == (SourceAdvanced(date(2025, 1, 3)), IntervalSucceeded(DataInterval(start, end)))


def test_failed_run_is_left_out() -> None:
    """A run that failed is no event: its repetition loads the interval again."""
    assert parse_history([{"interval": WHOLE_DAY, "state": "failed"}]) == ()


def test_unknown_entry_is_refused() -> None:
    """An entry that is neither an advance nor an interval is refused by its content."""
    with pytest.raises(ValueError, match="rewind"):
        parse_history([{"rewind": DAY}])


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"advance": DAY}, {"interval": WHOLE_DAY}], True),
        (
            [
                {"advance": DAY},
                {"interval": WHOLE_DAY},
                {"advance": "2025-01-04"},
                {"interval": NEXT_DAY},
            ],
            True,
        ),
        ([{"advance": "2025-01-04"}, {"interval": WHOLE_DAY}, {"interval": NEXT_DAY}], False),
        ([{"advance": "2025-01-04"}, {"interval": WHOLE_DAY}], False),
        ([{"interval": WHOLE_DAY}], False),
    ],
)
def test_day_by_day(entries: list[dict[str, str]], expected: bool) -> None:
    """A history is day by day when each interval ran right after its own day was reached."""
    assert runs_day_by_day(parse_history(entries)) is expected
