"""The data interval: half-open, in UTC, and the same however it is written."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DAY, DataInterval, days, days_after, merged, uncovered

MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1900 < moment.year < 9000)


@st.composite
def intervals(draw: st.DrawFn) -> DataInterval:
    start = draw(MOMENTS)
    length = draw(st.timedeltas(min_value=timedelta(microseconds=1), max_value=timedelta(days=400)))
    return DataInterval(start, start + length)


def test_a_day_is_half_open() -> None:
    """A day holds its first microsecond and not the next day's."""
    day = DataInterval.for_day(date(2025, 1, 31))
    assert datetime(2025, 1, 31, tzinfo=UTC) in day
    assert datetime(2025, 1, 31, 23, 59, 59, 999999, UTC) in day
    assert datetime(2025, 2, 1, tzinfo=UTC) not in day


@given(intervals())
def test_an_interval_survives_being_written_and_read(interval: DataInterval) -> None:
    """Parsing what an interval prints gives the same interval."""
    assert DataInterval.parse(str(interval)) == interval


@given(intervals(), intervals())
def test_labels_are_safe_and_tell_intervals_apart(one: DataInterval, other: DataInterval) -> None:
    """Two intervals share a label only when they are equal, and a label is one path part."""
    assert (one.label == other.label) == (one == other)
    assert "/" not in one.label
    assert ":" not in one.label


def test_a_day_can_be_written_as_a_date() -> None:
    """A bare date means that whole UTC day, and its label is the date."""
    interval = DataInterval.parse("2025-01-31")
    assert interval == DataInterval.for_day(date(2025, 1, 31))
    assert interval.label == "2025-01-31"


def test_other_offsets_are_converted() -> None:
    """A moment with another offset means the same instant in UTC."""
    parsed = DataInterval.parse("2025-01-01T01:00:00+01:00/2025-01-02T00:00:00Z")
    assert parsed == DataInterval.for_day(date(2025, 1, 1))


def test_consecutive_days_touch() -> None:
    """Each day ends where the next starts, leaving no gap and no overlap."""
    week = list(days(date(2025, 2, 26), 7))
    assert [one.end for one in week[:-1]] == [other.start for other in week[1:]]
    assert week[-1].end - week[0].start == 7 * DAY


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("2025-02-30", "'2025-02-30' is not a calendar date"),
        ("yesterday", "'yesterday' is not a calendar date"),
        ("2025-01-02/", "'2025-01-02/' is not a data interval"),
        ("2025-01-01T00:00:00/2025-01-02T00:00:00", "is not a data interval"),
        ("2025-01-02T00:00:00Z/2025-01-01T00:00:00Z", "not after its start"),
        ("2025-01-02T00:00:00Z/2025-01-02T00:00:00Z", "not after its start"),
    ],
)
def test_what_is_no_interval_is_refused_in_one_line(text: str, named: str) -> None:
    """Text that is no interval is refused by one line that quotes or explains it."""
    with pytest.raises(PipelineError, match=named) as caught:
        DataInterval.parse(text)
    assert "\n" not in str(caught.value)


def test_other_time_zones_are_refused() -> None:
    """An interval built in another time zone is refused rather than converted silently."""
    tokyo = timezone(timedelta(hours=9))
    with pytest.raises(PipelineError, match="not in UTC"):
        DataInterval(datetime(2025, 1, 1, tzinfo=tokyo), datetime(2025, 1, 2, tzinfo=tokyo))


@pytest.mark.parametrize("text", ["9999-12-31", "0001-01-01T00:00:00+01:00/0001-01-02T00:00:00Z"])
def test_an_interval_that_the_calendar_cannot_hold_is_refused(text: str) -> None:
    """An interval whose end or start is in no year is refused by name."""
    with pytest.raises(PipelineError, match=r"the calendar ends on 9999-12-31|is not a data inter"):
        DataInterval.parse(text)


def test_the_calendars_last_hours_have_a_label() -> None:
    """An interval on the calendar's last day, which is no whole day, has a name for paths."""
    last = DataInterval.parse("9999-12-31T00:00:00Z/9999-12-31T23:00:00Z")
    assert last.label.startswith("9999-12-31T000000")


@pytest.mark.parametrize(("start", "count"), [(date(9999, 12, 30), 2), (date(2025, 1, 1), 3000000)])
def test_days_after_the_calendars_end_are_refused(start: date, count: int) -> None:
    """A range of days that leaves the calendar is refused, and the message names its end."""
    with pytest.raises(PipelineError, match="the calendar ends on 9999-12-31"):
        days_after(start, count)
    with pytest.raises(PipelineError, match="the calendar ends on 9999-12-31"):
        list(days(start, 2) if count == 2 else days(date(9999, 12, 1), count))


HOUR = timedelta(hours=1)
START = datetime(2025, 1, 1, tzinfo=UTC)
hours = st.integers(min_value=0, max_value=12)
spans = st.lists(
    st.tuples(hours, hours)
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: DataInterval(START + pair[0] * HOUR, START + pair[1] * HOUR)),
    max_size=5,
)


def covered_hours(intervals: list[DataInterval]) -> set[int]:
    moments = {number: START + number * HOUR for number in range(12)}
    return {n for n, moment in moments.items() if any(moment in each for each in intervals)}


@given(intervals=spans, others=spans)
def test_coverage_is_that_of_sets(
    intervals: list[DataInterval], others: list[DataInterval]
) -> None:
    """Merging keeps what is covered, in disjoint order; the difference is that of the hours."""
    whole = merged(intervals)
    assert covered_hours(whole) == covered_hours(intervals)
    assert all(one.end < other.start for one, other in pairwise(whole))
    missing = uncovered(intervals, others)
    assert covered_hours(missing) == covered_hours(intervals) - covered_hours(others)
    assert missing == sorted(missing)


def test_the_preceding_intervals_tile_the_time_before() -> None:
    """They have the interval's length, end where the next begins, and stop at the year 1."""
    interval = DataInterval.parse("2025-01-03")
    assert [each.label for each in interval.preceding(2)] == ["2025-01-01", "2025-01-02"]
    assert interval.preceding(0) == []
    assert [e.label for e in DataInterval.parse("0001-01-02").preceding(5)] == ["0001-01-01"]
