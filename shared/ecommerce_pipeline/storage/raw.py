"""The warehouse's raw schema: the source's tables, and what is known of their loads.

Beside each table of ``contract.TABLES`` there is one ``deleted_<table>`` with the keys of its rows
that the source no longer has. ``raw.loaded_intervals`` has one row for each table and interval.
"""

from __future__ import annotations

from datetime import UTC

import duckdb

from ecommerce_pipeline.contract import TABLES, Column, Table
from ecommerce_pipeline.interval import DataInterval, merged


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that are not there yet."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
    for table in TABLES:
        key = [column for column in table.columns if column.name in table.key]
        for name, columns in ((table.name, table.columns), (f"deleted_{table.name}", key)):
            connection.execute(f'CREATE TABLE IF NOT EXISTS raw."{name}" ({_declared(columns)})')
    connection.execute(
        "CREATE TABLE IF NOT EXISTS raw.loaded_intervals (table_name VARCHAR NOT NULL,"
        " interval_start TIMESTAMPTZ NOT NULL, interval_end TIMESTAMPTZ NOT NULL,"
        " row_count BIGINT NOT NULL)"
    )


def create_present_views(connection: duckdb.DuckDBPyConnection) -> None:
    """For this connection alone: ``present_<table>`` without the rows that the source deleted."""
    for table in TABLES:
        view = f'CREATE OR REPLACE TEMP VIEW "present_{table.name}"'
        connection.execute(f"{view} AS {present(table)}")


def present(table: Table) -> str:
    """The clauses FROM and WHERE, in SQL, of the loaded rows that the source has not deleted.

    The alias of a row is ``loaded``; a further condition can follow with AND.
    """
    return (
        f'FROM raw."{table.name}" AS loaded WHERE NOT EXISTS'
        f' (FROM raw."deleted_{table.name}" AS deleted'
        f" WHERE {same_key(table, 'deleted', 'loaded')})"
    )


def covered(connection: duckdb.DuckDBPyConnection) -> list[DataInterval]:
    """The time of which the rows are loaded, in order; none before the first load."""
    try:
        rows = connection.execute(
            "SELECT DISTINCT interval_start, interval_end FROM raw.loaded_intervals"
        ).fetchall()
    except duckdb.CatalogException:
        return []
    return merged(DataInterval(start.astimezone(UTC), end.astimezone(UTC)) for start, end in rows)


def newest_interval(connection: duckdb.DuckDBPyConnection) -> DataInterval | None:
    """The loaded interval with the latest end; of several the shortest; None before any load."""
    try:
        rows = connection.execute(
            "SELECT interval_start, interval_end FROM raw.loaded_intervals"
            " ORDER BY interval_end DESC, interval_start DESC LIMIT 1"
        ).fetchall()
    except duckdb.CatalogException:
        return None
    return DataInterval(*(moment.astimezone(UTC) for moment in rows[0])) if rows else None


def same_key(table: Table, left: str, right: str) -> str:
    """The SQL condition that two aliases have the same row of the table."""
    return " AND ".join(f'{left}."{name}" = {right}."{name}"' for name in table.key)


def key_list(table: Table, alias: str) -> str:
    """The key's columns of an alias in SQL, separated by commas."""
    return ", ".join(f'{alias}."{name}"' for name in table.key)


def row_version(table: Table, alias: str) -> str:
    """The SQL row value of one version of a row; of two with another time, the newer is higher."""
    # DuckDB's row values compare from left to right, and NULL is higher than any value: there are
    # no two different rows of which neither is higher.
    names = ("updated_at", *table.column_names)
    return "row(" + ", ".join(f'{alias}."{name}"' for name in names) + ")"


def _declared(columns: tuple[Column, ...] | list[Column]) -> str:
    return ", ".join(
        f'"{c.name}" {c.type.duckdb}{"" if c.nullable else " NOT NULL"}' for c in columns
    )
