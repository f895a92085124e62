"""PostgreSQL as a source: rows are read and written with COPY."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES, Column, ColumnType, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import ddl, postgres_checks
from ecommerce_pipeline.source.base import ColumnInfo, TableChanges
from ecommerce_pipeline.source.postgres_copy import read_copy
from ecommerce_pipeline.source.postgres_errors import connection_error, query_error

_CONNECT_SECONDS = 5
_SILENCE_SECONDS = 60
_LOCK_WAIT_SECONDS = 60
_STATEMENT_SECONDS = 3600  # a step's own time-out comes earlier
_TYPES = {
    ColumnType.INTEGER: "bigint",
    ColumnType.TEXT: "text",
    ColumnType.TIMESTAMP: "timestamptz",
}
_DECLARED = {
    **dict.fromkeys(("int2", "int4", "int8"), ColumnType.INTEGER),
    **dict.fromkeys(("text", "varchar"), ColumnType.TEXT),
    "timestamptz": ColumnType.TIMESTAMP,
}
_TYPE_NAMES = {
    ColumnType.INTEGER: "bigint, integer or smallint",
    ColumnType.TEXT: "text or character varying",
    ColumnType.TIMESTAMP: "timestamp with time zone (timestamptz)",
}
# Text in the order of its bytes, as in SQLite: a server's own collation depends on its locale, and
# with it the order of the rows in the landing file would.
_BYTEWISE = ' COLLATE "C"'
# psycopg reads times of the style ISO only, and any place may have set another. The zone is that of
# the times without one which ``_csv`` writes. With row security off, a query from which a policy
# would hide rows fails.
_SESSION = "SET DateStyle TO ISO; SET TimeZone TO 'UTC'; SET row_security TO off"
_NO_ENCODING = "SQL_ASCII"  # of a database that takes any bytes as text
_STAGED = "pipeline_staged_rows"
_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), t.typname, c.relkind IN ('r', 'p')
    FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid
    JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attnum
"""
# Tables (r), partitioned (p) and foreign (f) ones, views (v) and materialized views (m).
_TABLES = """
    SELECT c.relname
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_table_is_visible(c.oid)
        AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
"""


class PostgresSource:
    """A PostgreSQL database; see ``Source`` for the contract of each method."""

    type_names: Mapping[ColumnType, str] = _TYPE_NAMES

    def __init__(self, connection: psycopg.Connection, shown_url: str) -> None:
        self._connection = connection
        self._shown_url = shown_url

    @classmethod
    def open(cls, url: str, shown_url: str) -> PostgresSource:
        """Connect, with a session in UTC.

        Args:
            url: the server's URL.
            shown_url: the same without the password, for messages.

        Raises:
            PipelineError: the URL is malformed, or the server cannot be reached or refuses.
        """
        try:
            connection = psycopg.connect(
                url,
                autocommit=True,  # psycopg would begin transactions at an isolation of its own
                connect_timeout=_CONNECT_SECONDS,
                # A server that is gone without a word is noticed by the operating system.
                keepalives_idle=_SILENCE_SECONDS,
                tcp_user_timeout=_SILENCE_SECONDS * 1000,
                client_encoding="utf8",
                application_name="ecommerce-pipeline",
            )
            connection.execute(_SESSION)
            connection.execute(f"SET lock_timeout TO '{_LOCK_WAIT_SECONDS}s'".encode())
            connection.execute(f"SET statement_timeout TO '{_STATEMENT_SECONDS}s'".encode())
        except psycopg.Error as error:
            raise connection_error(error, shown_url) from None  # its text may hold the password
        return cls(connection, shown_url)

    def create_tables(self) -> None:
        """Create the contract's tables with their indexes, where missing."""
        with self._errors():
            for table in TABLES:
                self._execute(ddl.create_table(table, _TYPES))
                self._execute(ddl.create_index(table, _BYTEWISE))
            self._execute(ddl.CREATE_STATE)

    def drop_tables(self) -> None:
        """Drop the contract's tables and the data set's position, where there are any."""
        with self._errors():
            self._execute(f"DROP TABLE IF EXISTS {ddl.quoted((*TABLE_BY_NAME, ddl.STATE_TABLE))}")

    def table_names(self) -> set[str]:
        """The names of the tables and views that the search path finds."""
        with self._errors():
            return {name for (name,) in self._connection.execute(_TABLES)}

    def columns(self, table: Table) -> Mapping[str, ColumnInfo]:
        """The table's columns as declared."""
        with self._errors():
            rows = self._connection.execute(_COLUMNS, [f'"{table.name}"']).fetchall()
        if not rows:
            raise PipelineError(
                f"the source {self._shown_url} has no table {table.name}",
                "check PIPELINE_SOURCE_URL or --source, or create it with:"
                " ecommerce-pipeline source create URL",
            )
        return {
            name: ColumnInfo(
                name,
                declared,
                _DECLARED.get(kind),
                _conversion(table, name, alterable) if kind == "timestamp" else None,
            )
            for name, declared, kind, alterable in rows
        }

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block did, or roll it back; all its reads see one state."""
        with self._errors():
            # By default each statement sees what is committed when it starts: a table's rows and
            # its keys would be of different moments.
            self._execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            try:
                yield
                self._execute("COMMIT")
            except BaseException:
                with contextlib.suppress(psycopg.Error):
                    self._execute("ROLLBACK")
                raise

    def apply(self, changes: TableChanges) -> None:
        """Delete and upsert rows; call it inside ``transaction``."""
        table = TABLE_BY_NAME[changes.table]
        with self._errors():
            if changes.deleted_keys is not None:
                self._delete(table, changes.deleted_keys.select(table.key))
            self._upsert(table, changes.upserts.select(table.column_names))

    def state(self) -> Mapping[str, str]:
        """What ``set_state`` stored; empty at first."""
        if ddl.STATE_TABLE not in self.table_names():
            return {}
        with self._errors():
            return dict(self._connection.execute(ddl.SELECT_STATE).fetchall())

    def set_state(self, state: Mapping[str, str]) -> None:
        """Store the data set's identity and position; call it inside ``transaction``."""
        with self._errors(), self._connection.cursor() as cursor:
            cursor.execute(ddl.DELETE_STATE)
            cursor.executemany(
                f"INSERT INTO {ddl.STATE_TABLE} VALUES (%s, %s)", list(state.items())
            )

    def newest_update(self, before: datetime) -> datetime | None:
        """The newest ``updated_at`` of any contract table before a moment."""
        with self._errors():
            newest = [self._newest_of(table, before) for table in TABLES]
        return max(filter(None, newest), default=None)

    def check_rows(self, table: Table) -> None:
        """Refuse rows that no interval holds, and a key in several rows."""
        with self._errors():
            postgres_checks.check_rows(self._connection, table, _BYTEWISE)

    def read_interval(self, table: Table, interval: DataInterval) -> Iterator[pa.RecordBatch]:
        """The interval's rows in the table's Arrow schema, ordered by updated_at and key."""
        condition = sql.SQL('WHERE "updated_at" >= {} AND "updated_at" < {}').format(
            sql.Literal(interval.start), sql.Literal(interval.end)
        )
        return self._read(table, table.columns, condition, '"updated_at", ')

    def read_keys(self, table: Table, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """The key and ``updated_at`` of every row that the table has now, ordered by key."""
        condition = (
            sql.SQL("")
            if since is None
            else sql.SQL('WHERE "updated_at" >= {}').format(sql.Literal(since))
        )
        return self._read(table, ddl.key_and_time_columns(table), condition, "")

    def count_rows(self, table: Table) -> int:
        """How many rows the table has now."""
        with self._errors():
            counted = self._connection.execute(f'SELECT count(*) FROM "{table.name}"'.encode())
            row = counted.fetchone()
        return int(row[0]) if row else 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _execute(self, statement: str) -> None:
        self._connection.execute(statement.encode())  # psycopg types a computed query as bytes only

    def _newest_of(self, table: Table, before: datetime) -> datetime | None:
        statement = (
            f'SELECT max("updated_at") FROM "{table.name}"'
            ' WHERE "updated_at" < %s AND "updated_at" >= \'0001-01-01 00:00Z\''
        )
        row = self._connection.execute(statement.encode(), [before]).fetchone()
        newest: datetime | None = row[0] if row else None
        return newest and newest.astimezone(UTC)  # psycopg gives it the session's zone object

    def _read(
        self, table: Table, columns: Sequence[Column], condition: sql.Composable, order: str
    ) -> Iterator[pa.RecordBatch]:
        selected = ", ".join(f'"{c.name}"::{_TYPES[c.type]} AS "{c.name}"' for c in columns)
        with self._errors():
            statement = (
                f'COPY (SELECT {selected} FROM "{table.name}" '.encode()
                + condition.as_bytes(self._connection)
                + f" ORDER BY {order}{ddl.key_order(table, _BYTEWISE)})"
                " TO STDOUT (FORMAT binary)".encode()
            )
            if self._connection.info.parameter_status("server_encoding") != _NO_ENCODING:
                yield from read_copy(self._connection, statement, table, columns)
                return
            # The server would refuse bytes that are no UTF-8 without naming the row.
            self._execute(f"SET client_encoding TO {_NO_ENCODING}")
            yield from read_copy(self._connection, statement, table, columns, check_text=True)
            self._execute("SET client_encoding TO utf8")

    def _delete(self, table: Table, keys: pa.Table) -> None:
        self._stage(table, keys)
        same_key = " AND ".join(f't."{name}" = s."{name}"' for name in table.key)
        self._execute(f'DELETE FROM "{table.name}" AS t USING {_STAGED} AS s WHERE {same_key}')
        self._execute(f"DROP TABLE {_STAGED}")

    def _upsert(self, table: Table, rows: pa.Table) -> None:
        self._stage(table, rows)
        names = ddl.quoted(rows.column_names)
        self._execute(
            f'INSERT INTO "{table.name}" ({names}) SELECT {names} FROM {_STAGED}'
            f" {ddl.on_conflict_update(table)}"
        )
        self._execute(f"DROP TABLE {_STAGED}")

    def _stage(self, table: Table, rows: pa.Table) -> None:
        """Put rows into a temporary table."""
        types = {column.name: _TYPES[column.type] for column in table.columns}
        columns = ", ".join(f'"{name}" {types[name]}' for name in rows.column_names)
        self._execute(f"CREATE TEMPORARY TABLE {_STAGED} ({columns}) ON COMMIT DROP")
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {_STAGED} FROM STDIN (FORMAT csv)".encode()) as copy,
        ):
            copy.write(_csv(rows))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise query_error(error, self._shown_url, self._connection.info.user) from error


def _conversion(table: Table, column: str, alterable: bool) -> str:
    """How times without a zone become the contract's; only a table's column can be altered."""
    zoned = f"{column} AT TIME ZONE 'UTC'"
    if not alterable:
        return f"select {zoned} AS {column} in the view, with the zone that its times are in"
    return (
        f"run ALTER TABLE {table.name} ALTER COLUMN {column} TYPE timestamptz USING {zoned},"
        " with the zone that its times are in"
    )


def _csv(rows: pa.Table) -> memoryview:
    """The rows as COPY reads them: empty text in quotes, NULL as nothing."""
    # Times without a zone, which the session reads as UTC: Arrow takes nine times as long to write
    # them with one.
    local = [
        pa.field(f.name, pa.timestamp("us") if pa.types.is_timestamp(f.type) else f.type)
        for f in rows.schema
    ]
    text = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False)
    pyarrow.csv.write_csv(rows.cast(pa.schema(local)), text, options)
    return text.getbuffer()
