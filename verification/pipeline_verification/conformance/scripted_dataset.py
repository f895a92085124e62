"""A data set with hand-written rows, for scenarios and tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa

from ecommerce_pipeline.contract import TABLE_BY_NAME, ColumnType, Table
from ecommerce_pipeline.source.base import TableChanges

Row = Mapping[str, Any]


class ScriptedDataset:
    """A data set whose changes are given, day by day.

    Args:
        days: the changes of each day.
    """

    name = "scripted"
    options: Mapping[str, int] = {}

    def __init__(self, days: Mapping[date, Sequence[TableChanges]]) -> None:
        self._days = days
        self.first_day = min(days)
        self.last_day: date | None = max(days)

    def changes(self, day: date) -> Iterator[TableChanges]:
        """One day's changes; none for a day that was not given."""
        yield from self._days.get(day, ())


def changes(table: str, *rows: Row, deleted: Sequence[Row] = ()) -> TableChanges:
    """Upserts and deletions of one table; a column that a row leaves out has a default.

    Args:
        table: the table's name.
        rows: whole or partial rows; times are aware datetimes.
        deleted: the keys of the rows to delete.
    """
    contract = TABLE_BY_NAME[table]
    upserts = pa.Table.from_pylist([_whole(contract, row) for row in rows], contract.arrow_schema)
    keys = pa.schema([contract.arrow_schema.field(name) for name in contract.key])
    gone = pa.Table.from_pylist(list(deleted), keys) if deleted else None
    return TableChanges(table, upserts, gone)


def _whole(table: Table, row: Row) -> dict[str, Any]:
    """The row with defaults: NULL where allowed, else 0, an empty text, or ``updated_at``."""
    plain = {ColumnType.INTEGER: 0, ColumnType.TEXT: "", ColumnType.TIMESTAMP: row["updated_at"]}
    defaults = {c.name: None if c.nullable else plain[c.type] for c in table.columns}
    return {**defaults, **row}
