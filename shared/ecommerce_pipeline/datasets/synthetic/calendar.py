"""Which days change what, and how many rows arrive on each.

Days are counted from 0 on ``FIRST_DAY``. The pattern repeats every 14 days, and the ids of each
kind of row are contiguous from 1 in the order of arrival, so that a day's ids are arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import accumulate

import numpy as np

from ecommerce_pipeline.datasets.rows import DAY_MICROSECONDS, Int64Array, midnight_of

FIRST_DAY = date(2025, 1, 1)
PATTERN_DAYS = 14
EMPTY_DAY = 3
PAGE_VIEWS_ONLY_DAY = 8
WEEKDAY_PER_MILLE = (900, 880, 920, 1000, 1150, 1250, 1000)
"""How busy Monday to Sunday are."""
REMEMBERED_DAYS = 16
"""For how many days a daily list is kept: more than any day needs of the past."""


def day_number(day: date) -> int:
    """The days from ``FIRST_DAY`` to ``day``; negative before it."""
    return (day - FIRST_DAY).days


def midnight(day: int | Int64Array) -> Int64Array:
    """The start of the day, or of each day, in microseconds since 1970, UTC."""
    return np.asarray(midnight_of(FIRST_DAY) + day * DAY_MICROSECONDS, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class OpenDays:
    """The days on which some tables change: all but those closed in each 14-day pattern."""

    closed: frozenset[int]

    def is_open(self, day: int) -> bool:
        """Whether the tables change on that day."""
        return day % PATTERN_DAYS not in self.closed

    def before(self, day: int) -> int:
        """How many open days lie before ``day``."""
        patterns, rest = divmod(day, PATTERN_DAYS)
        open_days = PATTERN_DAYS - len(self.closed)
        return patterns * open_days + sum(self.is_open(d) for d in range(rest))

    def cohorts(self, day: int, oldest: int) -> Iterator[tuple[int, int]]:
        """The open days up to ``day`` with their age at it in open days, oldest first.

        Nothing on a closed day. As an age is reached on one open day alone, a row whose changes
        happen at different ages has one version a day.
        """
        if not self.is_open(day):
            return
        number = self.before(day)
        # Closed days are never neighbours, so that twice the age in days is far enough back.
        for arrival_day in range(max(0, day - 2 * oldest), day + 1):
            age = number - self.before(arrival_day)
            if age <= oldest and self.is_open(arrival_day):
                yield arrival_day, age


SHOP_DAYS = OpenDays(frozenset({EMPTY_DAY, PAGE_VIEWS_ONLY_DAY}))
SITE_DAYS = OpenDays(frozenset({EMPTY_DAY}))


class Arrivals:
    """How many rows of one kind arrive: ``initial`` more on the first day, then by weekday."""

    def __init__(self, days: OpenDays, initial: int, by_weekday: tuple[int, ...]) -> None:
        self.initial = initial
        first = FIRST_DAY.weekday()
        counts = (
            by_weekday[(first + day) % 7] if days.is_open(day) else 0 for day in range(PATTERN_DAYS)
        )
        self._regular_before = (0, *accumulate(counts))

    def ids(self, day: int) -> range:
        """The ids that arrive on ``day``."""
        return range(self._before(day) + 1, self._before(day + 1) + 1)

    def known(self, day: int) -> range:
        """The ids that have arrived by the end of ``day``."""
        return range(1, self._before(day + 1) + 1)

    def arrival_days(self, day: int) -> Int64Array:
        """The day on which each of the known ids arrived."""
        counts = [len(self.ids(d)) for d in range(day + 1)]
        return np.repeat(np.arange(day + 1, dtype=np.int64), counts)

    def _before(self, day: int) -> int:
        patterns, rest = divmod(day, PATTERN_DAYS)
        regular = patterns * self._regular_before[-1] + self._regular_before[rest]
        return regular + (self.initial if day > 0 else 0)


def steady(days: OpenDays, initial: int, daily: int) -> Arrivals:
    """The same number on every open day."""
    return Arrivals(days, initial, (daily,) * 7)


def weekly(days: OpenDays, average: int) -> Arrivals:
    """About ``average`` rows on every open day, more towards the weekend."""
    return Arrivals(days, 0, tuple(average * share // 1000 for share in WEEKDAY_PER_MILLE))


def chunks(ids: range, size: int) -> Iterator[range]:
    """Consecutive parts of ``ids`` of at most ``size``."""
    for start in range(0, len(ids), size):
        yield ids[start : start + size]


def id_array(ids: range) -> Int64Array:
    """The consecutive ids as an array."""
    return np.arange(ids.start, ids.stop, dtype=np.int64)
