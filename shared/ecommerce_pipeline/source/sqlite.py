"""SQLite as a source: money and microseconds since 1970 UTC are integers, and so exact."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa

from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES, Column, ColumnType, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import ddl, sqlite_checks, sqlite_times
from ecommerce_pipeline.source.base import ColumnInfo, TableChanges
from ecommerce_pipeline.source.sqlite_times import TextTimes
from ecommerce_pipeline.source.sqlite_values import (
    FIRST_MICROSECOND,
    microseconds,
    moment,
    python_rows,
    to_arrow,
)

_TYPES = {
    ColumnType.INTEGER: "INTEGER",
    ColumnType.TEXT: "TEXT",
    ColumnType.TIMESTAMP: "INTEGER",
}
_TYPE_NAMES = {
    ColumnType.INTEGER: "INTEGER",
    ColumnType.TEXT: "TEXT",
    ColumnType.TIMESTAMP: "INTEGER of microseconds since 1970 UTC or TEXT in ISO 8601",
}
_BATCH_ROWS = 20_000
_NEAR = timedelta(days=4)
_LOCK_WAIT_SECONDS = 30.0


class SqliteSource:
    """A SQLite file, opened at first use; see ``Source`` for the contract of each method."""

    type_names: Mapping[ColumnType, str] = _TYPE_NAMES

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._opened: sqlite3.Connection | None = None

    def create_tables(self) -> None:
        """Create the file and the contract's tables with their indexes, where missing."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PipelineError(
                f"the folder of {self._path} cannot be made: {error.strerror or error}",
                "name a path in a folder that can be written to",
            ) from error
        with self._errors():
            connection = self._connection(create=True)
            connection.execute("PRAGMA journal_mode = WAL")  # readers never wait for the writer
            for table in TABLES:
                connection.execute(ddl.create_table(table, _TYPES, suffix=" STRICT"))
                connection.execute(ddl.create_index(table))
            connection.execute(ddl.CREATE_STATE + " STRICT")

    def drop_tables(self) -> None:
        """Drop the contract's tables and the data set's position, where there are any."""
        if not self._path.exists():
            return
        with self._errors():
            for name in (*TABLE_BY_NAME, ddl.STATE_TABLE):
                self._connection().execute(f'DROP TABLE IF EXISTS "{name}"')

    def table_names(self) -> set[str]:
        """The names of all tables and views; none where there is no file yet."""
        if not self._path.exists():
            return set()
        with self._errors():
            rows = self._connection().execute(
                "SELECT name FROM sqlite_schema"
                " WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            )
            return {name for (name,) in rows}

    def columns(self, table: Table) -> Mapping[str, ColumnInfo]:
        """The table's columns as declared; an integer or a text column serves as a time as well."""
        with self._errors():
            declared = self._declared(table)
        times = {c.name for c in table.columns if c.type is ColumnType.TIMESTAMP}
        return {
            name: ColumnInfo(name, kind, _type(kind, name in times))
            for name, kind in declared.items()
        }

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block did, or roll it back; all its reads see one state."""
        with self._errors():
            connection = self._connection()
            # In WAL mode the first read fixes what all further ones see.
            connection.execute("BEGIN")
            try:
                yield
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def apply(self, changes: TableChanges) -> None:
        """Delete and upsert rows; call it inside ``transaction``."""
        table = TABLE_BY_NAME[changes.table]
        with self._errors():
            if changes.deleted_keys is not None:
                same_key = " AND ".join(f'"{name}" = ?' for name in table.key)
                self._connection().executemany(
                    f'DELETE FROM "{table.name}" WHERE {same_key}',
                    python_rows(changes.deleted_keys.select(table.key)),
                )
            marks = ", ".join("?" for _ in table.columns)
            self._connection().executemany(
                f'INSERT INTO "{table.name}" ({ddl.quoted(table.column_names)}) VALUES ({marks}) '
                + ddl.on_conflict_update(table),
                python_rows(changes.upserts.select(table.column_names)),
            )

    def state(self) -> Mapping[str, str]:
        """What ``set_state`` stored; empty at first."""
        if ddl.STATE_TABLE not in self.table_names():
            return {}
        with self._errors():
            return dict(self._connection().execute(ddl.SELECT_STATE).fetchall())

    def set_state(self, state: Mapping[str, str]) -> None:
        """Store the data set's identity and position; call it inside ``transaction``."""
        with self._errors():
            self._connection().execute(ddl.DELETE_STATE)
            self._connection().executemany(
                f"INSERT INTO {ddl.STATE_TABLE} VALUES (?, ?)", state.items()
            )

    def newest_update(self, before: datetime) -> datetime | None:
        """The newest ``updated_at`` of any contract table before a moment."""
        newest = []
        for table in TABLES:
            with self._errors(table):
                newest.append(self._newest_of(table, before))
        return max(filter(None, newest), default=None)

    def check_rows(self, table: Table) -> None:
        """Refuse rows that no interval holds, and a key in several rows."""
        with self._errors(table):
            sqlite_checks.check_rows(self._connection(), table, self._text_times(table))

    def read_interval(self, table: Table, interval: DataInterval) -> Iterator[pa.RecordBatch]:
        """The interval's rows in the table's Arrow schema, ordered by updated_at and key."""
        with self._errors():
            times = self._text_times(table)
        condition, parameters = times.within(interval)
        order = ", ".join([times.value("updated_at"), *times.order(ddl.key_columns(table))])
        clauses = f"WHERE {condition} ORDER BY {order}"
        return self._read(table, table.columns, times, clauses, parameters)

    def read_keys(self, table: Table, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """The key and ``updated_at`` of every row that the table has now, ordered by key."""
        with self._errors():
            times = self._text_times(table)
        columns, order = ddl.key_and_time_columns(table), times.order(ddl.key_columns(table))
        condition = "" if since is None else f"WHERE {times.value('updated_at')} >= ? "
        parameters: list[int | str] = [] if since is None else [microseconds(since)]
        clauses = f"{condition}ORDER BY {', '.join(order)}"
        return self._read(table, columns, times, clauses, parameters)

    def count_rows(self, table: Table) -> int:
        """How many rows the table has now."""
        with self._errors(table):
            counted = self._connection().execute(f'SELECT count(*) FROM "{table.name}"')
            return int(counted.fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _connection(self, *, create: bool = False) -> sqlite3.Connection:
        if self._opened is None:
            if not create and not self._path.exists():
                raise PipelineError(
                    f"the source {self._path} does not exist",
                    "check PIPELINE_SOURCE_URL or --source, or create it with:"
                    f" ecommerce-pipeline source create sqlite:///{self._path}",
                )
            # By URI, since a mere path is created when it is missing. Without an isolation level
            # the module begins no transactions: it would do so before a write, not before a read.
            self._opened = sqlite3.connect(
                f"{self._path.as_uri()}?mode={'rwc' if create else 'rw'}",
                uri=True,
                timeout=_LOCK_WAIT_SECONDS,
                isolation_level=None,
            )
            sqlite_times.register(self._opened)
        return self._opened

    def _declared(self, table: Table) -> dict[str, str]:
        """The declared type of each of the table's columns.

        Raises:
            PipelineError: there is no such table.
        """
        found = (
            self._connection()
            .execute("SELECT name, type FROM pragma_table_xinfo(?)", [table.name])
            .fetchall()
        )
        if not found:
            raise PipelineError(
                f"the source {self._path} has no table {table.name}",
                f"create it with: ecommerce-pipeline source create sqlite:///{self._path}",
            )
        declared = dict(found)
        if self._is_view(table):
            # SQLite gives no type for an expression of a view, so the first value decides.
            for column in table.columns:
                if declared.get(column.name) == "":
                    declared[column.name] = self._type_of_a_value(table, column)
        return declared

    def _is_view(self, table: Table) -> bool:
        statement = "SELECT 1 FROM sqlite_schema WHERE type = 'view' AND name = ?"
        return self._connection().execute(statement, [table.name]).fetchone() is not None

    def _type_of_a_value(self, table: Table, column: Column) -> str:
        """The type of the column's first value; where it has none, one that fits."""
        found = (
            self._connection()
            .execute(
                f'SELECT typeof("{column.name}") FROM "{table.name}"'
                f' WHERE "{column.name}" IS NOT NULL LIMIT 1'
            )
            .fetchone()
        )
        return str(found[0]).upper() if found else _TYPES[column.type]

    def _text_times(self, table: Table) -> TextTimes:
        return sqlite_times.text_times(table, self._declared(table))

    def _newest_of(self, table: Table, before: datetime) -> datetime | None:
        times = self._text_times(table)
        if "updated_at" not in times.names:
            return self._newest_where(table, times, before, "TRUE", [])
        # First the rows whose text begins with one of the last days, which an index finds. A time
        # is at most a day away from its local date, so older rows are older than ``earliest``.
        day = sqlite_times.date(before, -_NEAR)
        newest = self._newest_where(table, times, before, '"updated_at" >= ?', [day])
        earliest = before - min(_NEAR - timedelta(days=2), before - moment(FIRST_MICROSECOND))
        if newest is not None and newest >= earliest:
            return newest
        return self._newest_where(table, times, before, "TRUE", [])

    def _newest_where(
        self, table: Table, times: TextTimes, before: datetime, condition: str, values: list[str]
    ) -> datetime | None:
        value = times.value("updated_at")
        (newest,) = (
            self._connection()
            .execute(
                f'SELECT max({value}) FROM "{table.name}"'
                f" WHERE {condition} AND {value} < ? AND {value} >= ?",
                [*values, microseconds(before), FIRST_MICROSECOND],
            )
            .fetchone()
        )
        return None if newest is None else moment(newest)

    def _read(
        self,
        table: Table,
        columns: Sequence[Column],
        times: TextTimes,
        clauses: str,
        parameters: Sequence[int | str],
    ) -> Iterator[pa.RecordBatch]:
        names = ", ".join(times.value(column.name) for column in columns)
        with self._errors(table):
            cursor = self._connection().execute(
                f'SELECT {names} FROM "{table.name}" {clauses}', parameters
            )
            while rows := cursor.fetchmany(_BATCH_ROWS):
                yield to_arrow(table, columns, times.names, rows)

    @contextmanager
    def _errors(self, table: Table | None = None) -> Iterator[None]:
        """Report SQLite's errors; those of text in the table's rows by the row."""
        try:
            yield
        except sqlite3.Error as error:
            busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY
            if table is not None and not busy:
                self._find_other_bytes(table)
            raise PipelineError(
                f"the source {self._path}: {error}",
                "try again when its other writer is done"
                if busy
                else "check that it is a SQLite database with the contract's tables and its rights",
                retryable=busy,
            ) from error

    def _find_other_bytes(self, table: Table) -> None:
        """Name the row whose text is no UTF-8: the error of its reading names at most its column.

        Raises:
            PipelineError: there is such a row.
        """
        found = None
        with suppress(sqlite3.Error):  # the first error is reported then
            found = sqlite_checks.not_utf8(self._connection(), table)
        if found is not None:
            raise found


def _type(declared: str, time: bool) -> ColumnType | None:
    """The contract's type for a declared one, by SQLite's own rule of affinity.

    A column of dates and times, as many programs declare it, may hold text.
    """
    name = declared.upper()
    if "INT" in name:
        return ColumnType.TIMESTAMP if time else ColumnType.INTEGER
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return ColumnType.TIMESTAMP if time else ColumnType.TEXT
    return ColumnType.TIMESTAMP if time and ("DATE" in name or "TIME" in name) else None
