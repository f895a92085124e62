"""What every source database can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import pyarrow as pa

from ecommerce_pipeline.contract import ColumnType, Table
from ecommerce_pipeline.interval import DataInterval


@dataclass(frozen=True, slots=True)
class TableChanges:
    """Some of one day's changes of one table.

    Attributes:
        table: the table's name.
        upserts: whole rows in the table's Arrow schema, inserted or replacing by key.
        deleted_keys: rows to delete, only the key columns; None where there are none.
    """

    table: str
    upserts: pa.Table
    deleted_keys: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A column as the database declares it.

    Attributes:
        name: the column's name.
        declared_type: its type in the database's own words.
        type: the contract's type; None where the contract has none such.
        conversion: the statement that would give it the contract's type, where there is one.
    """

    name: str
    declared_type: str
    type: ColumnType | None
    conversion: str | None = None


class Source(Protocol):
    """An open source database.

    Attributes:
        type_names: how the database declares each of the contract's types.

    Every method raises ``PipelineError`` when the database cannot be reached, refuses the
    credentials, or lacks the table; no message contains a credential.
    """

    type_names: Mapping[ColumnType, str]

    def create_tables(self) -> None:
        """Create the contract's tables with their ``updated_at`` indexes, where missing."""

    def drop_tables(self) -> None:
        """Drop the contract's tables and the data set's position."""

    def table_names(self) -> set[str]:
        """The names of all tables in the database."""

    def columns(self, table: Table) -> Mapping[str, ColumnInfo]:
        """The table's columns as declared, by name; raises when there is no such table."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commit what the block did, or roll it back when it raises."""

    def apply(self, changes: TableChanges) -> None:
        """Delete and upsert rows; call it inside ``transaction``."""

    def state(self) -> Mapping[str, str]:
        """What ``set_state`` stored: the data set's identity and position; empty at first."""

    def set_state(self, state: Mapping[str, str]) -> None:
        """Store the data set's identity and position; call it inside ``transaction``."""

    def newest_update(self, before: datetime) -> datetime | None:
        """The newest ``updated_at`` of any contract table before a moment; None where no row."""

    def check_rows(self, table: Table) -> None:
        """Refuse rows that no interval holds or that have no key, and a key in several rows.

        The table must have the contract's columns. Only where an index or a constraint does not
        answer the question are its rows read.

        Raises:
            PipelineError: there are such rows; names the first of them and their number.
        """

    def read_interval(self, table: Table, interval: DataInterval) -> Iterator[pa.RecordBatch]:
        """The interval's rows in the table's exact Arrow schema, ordered by updated_at and key.

        Memory stays bounded however many rows there are.
        """

    def read_keys(self, table: Table, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """The key and ``updated_at`` of every row that the table has now, ordered by key.

        Args:
            table: the table.
            since: only of the rows updated at this moment or later.
        """

    def count_rows(self, table: Table) -> int:
        """How many rows the table has now."""

    def close(self) -> None:
        """Close the connection."""
