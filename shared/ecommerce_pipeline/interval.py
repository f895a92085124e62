"""The data interval: the half-open span of UTC time that one run processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from ecommerce_pipeline.errors import PipelineError

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class DataInterval:
    """The rows with ``start <= updated_at < end``; both ends are aware datetimes in UTC.

    A tool's own kind of datetime, such as pendulum's, is accepted; a plain ``datetime`` is kept.

    Raises:
        PipelineError: an end is not in UTC, or the end is not after the start.
    """

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        for name, moment in (("start", self.start), ("end", self.end)):
            # The offset counts, not the zone's name. A naive time has none and is refused as well.
            if moment.utcoffset() != timedelta(0):
                raise PipelineError(
                    f"the data interval's {name} {moment} is not in UTC",
                    "give it with the offset +00:00",
                )
            object.__setattr__(self, name, _plain(moment))
        if self.end <= self.start:
            raise PipelineError(
                f"the data interval ends at {self.end:%Y-%m-%dT%H:%M:%SZ}, "
                f"not after its start {self.start:%Y-%m-%dT%H:%M:%SZ}",
                "give an end after the start",
            )

    @classmethod
    def for_day(cls, day: date) -> DataInterval:
        """The UTC calendar day ``day``.

        Raises:
            PipelineError: it is the calendar's last day, whose end is in no year.
        """
        start, end = (datetime.combine(each, time(), UTC) for each in (day, days_after(day, 1)))
        return cls(start, end)

    @classmethod
    def parse(cls, text: str) -> DataInterval:
        """Read a day (``2025-01-31``) or an ISO 8601 interval (``START/END``, both with offset).

        Raises:
            PipelineError: the text is neither.
        """
        if "/" not in text:
            return cls.for_day(parse_day(text))
        start, _, end = text.partition("/")
        try:
            return cls(_as_utc(start), _as_utc(end))
        except (ValueError, OverflowError):  # an offset may lead out of the calendar
            raise PipelineError(
                f"{text!r} is not a data interval",
                "write it as 2025-01-31 or 2025-01-31T00:00:00Z/2025-02-01T00:00:00Z",
            ) from None

    def preceding(self, count: int) -> list[DataInterval]:
        """The ``count`` intervals of the same length that end where the next begins, in order.

        Those that would begin before the calendar's first year are left out.
        """
        length = self.end - self.start
        possible = min(count, (self.start - datetime.min.replace(tzinfo=UTC)) // length)
        return [
            DataInterval(self.start - back * length, self.end - back * length)
            for back in range(possible, 0, -1)
        ]

    @property
    def is_day(self) -> bool:
        """Whether it is a whole UTC calendar day."""
        # Not compared with a day's interval: the calendar's last day has none.
        return self.end - self.start == DAY and self.start.time() == time()

    @property
    def label(self) -> str:
        """A short name that is safe in a path: ``2025-01-31`` for a whole day, else both ends."""
        if self.is_day:
            return self.start.date().isoformat()
        # Without colons, which some file systems do not allow; to the microsecond, so that two
        # intervals never have one name.
        return f"{self.start:%Y-%m-%dT%H%M%S.%fZ}--{self.end:%Y-%m-%dT%H%M%S.%fZ}"

    def __str__(self) -> str:
        return f"{_iso(self.start)}/{_iso(self.end)}"

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def merged(intervals: Iterable[DataInterval]) -> list[DataInterval]:
    """The time that the intervals cover, as few intervals as possible, in order."""
    ranges: list[DataInterval] = []
    for interval in sorted(intervals):
        if ranges and interval.start <= ranges[-1].end:
            ranges[-1] = DataInterval(ranges[-1].start, max(ranges[-1].end, interval.end))
        else:
            ranges.append(interval)
    return ranges


def uncovered(intervals: Iterable[DataInterval], by: Iterable[DataInterval]) -> list[DataInterval]:
    """The time that the intervals cover and those of ``by`` do not, in order."""
    missing = []
    covered = merged(by)
    for interval in merged(intervals):
        start = interval.start
        for each in covered:
            if each.end <= start or each.start >= interval.end:
                continue
            if each.start > start:
                missing.append(DataInterval(start, each.start))
            start = each.end
        if start < interval.end:
            missing.append(DataInterval(start, interval.end))
    return missing


def parse_day(text: str) -> date:
    """Read an ISO date.

    Raises:
        PipelineError: the text is not a calendar date written as YYYY-MM-DD.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise PipelineError(
            f"{text!r} is not a calendar date", "write it as YYYY-MM-DD, such as 2025-01-31"
        ) from None


def days(start: date, count: int) -> Iterator[DataInterval]:
    """The daily intervals of ``count`` consecutive days from ``start``, in order.

    Raises:
        PipelineError: the calendar ends earlier.
    """
    for offset in range(count):
        yield DataInterval.for_day(days_after(start, offset))


def days_after(day: date, count: int) -> date:
    """The day ``count`` days later.

    Raises:
        PipelineError: the calendar ends earlier.
    """
    try:
        return day + timedelta(days=count)
    except OverflowError:
        raise PipelineError(
            f"the calendar ends on {date.max}, before {count} days after {day}",
            "give an earlier first day, or fewer days",
        ) from None


def _plain(moment: datetime) -> datetime:
    # A subclass may lack what the standard library's C code looks for: pyarrow fails on pendulum's.
    date_and_time = (*moment.timetuple()[:6], moment.microsecond)
    return datetime(*date_and_time, tzinfo=UTC)


def _as_utc(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    return moment.astimezone(UTC)


def _iso(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
