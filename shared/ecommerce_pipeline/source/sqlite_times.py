"""Times that SQLite keeps as ISO 8601 text, compared as microseconds since 1970 UTC.

As text they would not be in the order of time: offsets differ, ``T`` sorts after a blank, and a
fraction after ``Z``.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ecommerce_pipeline.contract import Column, ColumnType, Table
from ecommerce_pipeline.interval import DAY, DataInterval
from ecommerce_pipeline.source.sqlite_values import (
    FIRST_MICROSECOND,
    LAST_MICROSECOND,
    microseconds,
)

_FUNCTION = "pipeline_microseconds"
# Python reads more forms, but in others the text does not begin with the calendar date.
_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d+)?)?(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII
)
_AFTER_ANY_DATE = ":"  # sorts after every digit


@dataclass(frozen=True, slots=True)
class TextTimes:
    """Which columns of a table hold times as text, and how SQL reads its columns.

    Attributes:
        names: the columns.
    """

    names: frozenset[str]

    def value(self, name: str) -> str:
        """The expression of a column's value; a time is an integer of microseconds.

        Where text is no time, it is the value's own notation as text.
        """
        return f'{_FUNCTION}("{name}")' if name in self.names else f'"{name}"'

    def order(self, columns: tuple[Column, ...]) -> list[str]:
        """The expressions to sort and compare by; text compares by its bytes."""
        return [
            f"{self.value(c.name)} COLLATE BINARY"
            if c.type is ColumnType.TEXT
            else self.value(c.name)
            for c in columns
        ]

    def within(self, interval: DataInterval) -> tuple[str, list[int | str]]:
        """The condition, with its parameters, under which a row is in the interval."""
        value = self.value("updated_at")
        condition = f"{value} >= ? AND {value} < ?"
        ends: list[int | str] = [microseconds(interval.start), microseconds(interval.end)]
        if "updated_at" not in self.names:
            return condition, ends
        # First by the date in the text, which an index finds: a local date is at most a day away.
        dates: list[int | str] = [date(interval.start, -DAY), date(interval.end, 2 * DAY)]
        return f'"updated_at" >= ? AND "updated_at" < ? AND {condition}', dates + ends


def text_times(table: Table, declared: Mapping[str, str]) -> TextTimes:
    """The table's time columns that are not declared as integers."""
    names = (c.name for c in table.columns if c.type is ColumnType.TIMESTAMP)
    return TextTimes(frozenset(n for n in names if "INT" not in declared[n].upper()))


def date(moment: datetime, change: timedelta) -> str:
    """A moment's date, some days earlier or later, with which the text of times compares."""
    try:
        return (moment + change).date().isoformat()
    except OverflowError:
        return "" if change < timedelta(0) else _AFTER_ANY_DATE


def register(connection: sqlite3.Connection) -> None:
    """Let the connection's statements read text as times."""
    connection.create_function(_FUNCTION, 1, _value, deterministic=True)


def parse(text: str) -> int | None:
    """The microseconds since 1970 UTC of an ISO 8601 time; None where the text is none.

    Without an offset the time is UTC. Digits after the sixth of a fraction are left out.
    """
    if not _ISO_8601.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    found = microseconds(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return found if FIRST_MICROSECOND <= found <= LAST_MICROSECOND else None


def _value(stored: object) -> int | str | None:
    """What SQL sees: a time's microseconds, and else the notation of what is stored."""
    if stored is None:
        return None
    found = parse(stored) if isinstance(stored, str) else None
    return repr(stored) if found is None else found
