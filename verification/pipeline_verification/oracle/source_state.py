"""The source database as five data frames, changed day by day."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import pandas as pd
import pyarrow as pa

from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES, Table
from ecommerce_pipeline.datasets.base import Dataset
from ecommerce_pipeline.interval import DAY, DataInterval
from ecommerce_pipeline.source.base import TableChanges

Frames = dict[str, pd.DataFrame]


class SourceState:
    """The current rows of the contract's tables.

    Args:
        dataset: the source of the changes; None when the tables never change.
        tables: the initial rows by table name; None means no rows.
    """

    def __init__(self, dataset: Dataset | None, tables: Frames | None = None) -> None:
        self._dataset = dataset
        self._next_day = dataset.first_day if dataset else date.max
        self._tables = tables or {table.name: empty_frame(table) for table in TABLES}

    def advance(self, to_day: date) -> None:
        """Apply the days up to and including ``to_day`` that were not applied yet."""
        if self._dataset is None:
            raise ValueError("a source without a data set cannot advance")
        changes: dict[str, list[TableChanges]] = {}
        while self._next_day <= to_day:
            for change in self._dataset.changes(self._next_day):
                changes.setdefault(change.table, []).append(change)
            self._next_day += DAY
        for name, of_table in changes.items():
            self._tables[name] = _applied(self._tables[name], of_table, TABLE_BY_NAME[name].key)

    def rows(self, table: str, interval: DataInterval) -> pd.DataFrame:
        """The table's current rows with ``start <= updated_at < end``."""
        rows = self._tables[table]
        updated_at = rows["updated_at"]
        return rows[(updated_at >= interval.start) & (updated_at < interval.end)]

    def table(self, name: str) -> pd.DataFrame:
        """All rows that the table has now."""
        return self._tables[name]


def frame(table: pa.Table) -> pd.DataFrame:
    """A data frame with Arrow's exact types: no float or object, and NULL is not an empty text."""
    converted: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return converted


def empty_frame(table: Table) -> pd.DataFrame:
    """A contract table without rows."""
    return frame(table.arrow_schema.empty_table())


def _applied(
    rows: pd.DataFrame, changes: Iterable[TableChanges], key: tuple[str, ...]
) -> pd.DataFrame:
    """The rows after the changes: for each key the last upsert, unless a deletion follows it."""
    log = [rows.assign(deleted=False)]
    for change in changes:
        if change.deleted_keys is not None:
            log.append(frame(change.deleted_keys).assign(deleted=True))
        log.append(frame(change.upserts).assign(deleted=False))
    last = pd.concat(log, ignore_index=True).drop_duplicates(list(key), keep="last")
    return last[~last["deleted"]].drop(columns="deleted")
