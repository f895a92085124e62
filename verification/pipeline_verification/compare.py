"""Comparing DuckDB warehouses value for value: every table, every column, every row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from ecommerce_pipeline.storage.duckdb_connection import connect_duckdb

SAMPLE_ROWS = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of a table; ``message`` has both values."""

    table: str
    message: str

    def __str__(self) -> str:
        return f"{self.table}: {self.message}"


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the two relations that are compared: its name in messages, and its name in SQL."""

    label: str
    relation: str


def compare(left: Path, right: Path, *, schemas: Collection[str] | None = None) -> list[Difference]:
    """All differences between two DuckDB files; views are not compared.

    Args:
        left: one file.
        right: the other.
        schemas: compare only the tables of these schemas; None means every table.

    Raises:
        duckdb.Error: a file is missing, locked by a running step, or no DuckDB database.
    """
    with _open(left=left, right=right) as connection:
        left_names = _table_names(connection, "left", schemas)
        right_names = _table_names(connection, "right", schemas)
        only = [(name, left) for name in left_names - right_names]
        only += [(name, right) for name in right_names - left_names]
        differences = [Difference(name, f"only in {path}") for name, path in sorted(only)]
        for name in sorted(left_names & right_names):
            sides = (
                _Side(str(left), f'"left".{_quoted(name)}'),
                _Side(str(right), f'"right".{_quoted(name)}'),
            )
            differences += _differences(connection, name, *sides)
    return differences


def compare_table(
    warehouse: Path,
    name: str,
    expected: pa.Table,
    *,
    where: str = "true",
    label: str = "the oracle",
) -> list[Difference]:
    """All differences between one table of a DuckDB file and the expected rows.

    Args:
        warehouse: the DuckDB file.
        name: ``schema.table``.
        expected: the rows in any order, with the columns' exact types.
        where: an SQL condition; only the table's rows that satisfy it are compared.
        label: the name of the expected rows in messages.

    Raises:
        duckdb.Error: the file is missing, locked by a running step, or no DuckDB database.
    """
    with _open(actual=warehouse) as connection:
        if name not in _table_names(connection, "actual"):
            return [Difference(name, f"missing from {warehouse}")]
        connection.register("expected", expected)
        actual = f'(FROM "actual".{_quoted(name)} WHERE {where})'
        sides = _Side(str(warehouse), actual), _Side(label, "expected")
        return _differences(connection, name, *sides)


def report(differences: Iterable[object]) -> str:
    """The differences as text for a failed assertion, each on lines of its own."""
    return "\n".join(map(str, differences))


def table_names(warehouse: Path, schemas: Collection[str] | None = None) -> set[str]:
    """The base tables of a DuckDB file, or of some schemas in it, as ``schema.table``."""
    with _open(actual=warehouse) as connection:
        return _table_names(connection, "actual", schemas)


@contextmanager
def _open(**files: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection in UTC to which the files are attached under their names, read-only."""
    with connect_duckdb() as connection:
        # Dates and texts of times with a zone follow the session's zone, not the file's.
        connection.execute("SET TimeZone = 'UTC'")
        for catalog, path in files.items():
            connection.execute(f'ATTACH ? AS "{catalog}" (TYPE duckdb, READ_ONLY)', [str(path)])
        yield connection


def _table_names(
    connection: duckdb.DuckDBPyConnection, catalog: str, schemas: Collection[str] | None = None
) -> set[str]:
    rows = connection.execute(
        "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ?", [catalog]
    ).fetchall()
    return {f"{schema}.{table}" for schema, table in rows if schemas is None or schema in schemas}


def _differences(
    connection: duckdb.DuckDBPyConnection, table: str, left: _Side, right: _Side
) -> list[Difference]:
    columns = [_columns(connection, side) for side in (left, right)]
    if columns[0] != columns[1]:
        message = f"columns {columns[0]} in {left.label}, {columns[1]} in {right.label}"
        return [Difference(table, message)]
    # EXCEPT ALL shows which rows differ, but follows a column's collation, under which 'A' may
    # equal 'a'. The hash does not, and it alone would not show the rows.
    prints = [_fingerprint(connection, side) for side in (left, right)]
    extra = [_extra_rows(connection, left, right), _extra_rows(connection, right, left)]
    if prints[0] == prints[1] and not any(extra):
        return []
    lines = (f"{prints[0]} in {left.label}, {prints[1]} in {right.label}", *extra)
    return [Difference(table, "".join(lines))]


def _columns(connection: duckdb.DuckDBPyConnection, side: _Side) -> str:
    relation = connection.sql(f"FROM {side.relation}")
    columns = zip(relation.columns, relation.types, strict=True)
    return ", ".join(f"{name} {kind}" for name, kind in columns)


def _fingerprint(connection: duckdb.DuckDBPyConnection, side: _Side) -> str:
    """The count of rows and a hash that does not depend on their order."""
    rows = connection.execute(
        f"SELECT count(*), coalesce(sum(hash(side)), 0) FROM {side.relation} AS side"
    ).fetchall()
    count, hashes = rows[0]
    return f"{count} rows of hash {int(hashes):x}"


def _extra_rows(connection: duckdb.DuckDBPyConnection, left: _Side, right: _Side) -> str:
    """The rows that the left has more often than the right: their number and the first few."""
    extra = connection.sql(
        f"""
        SELECT count(*) OVER () AS extra_rows, *
        FROM (FROM {left.relation} EXCEPT ALL FROM {right.relation})
        ORDER BY ALL LIMIT {SAMPLE_ROWS}
        """
    )
    rows = extra.fetchall()
    if not rows:
        return ""
    samples = [dict(zip(extra.columns[1:], row[1:], strict=True)) for row in rows]
    header = f"\n  {rows[0][0]} rows only in {left.label}, such as"
    return "".join([header, *(f"\n    {sample}" for sample in samples)])


def _quoted(name: str) -> str:
    schema, table = name.split(".", 1)
    return ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table))
