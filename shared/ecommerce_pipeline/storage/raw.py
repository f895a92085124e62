"""The warehouse's raw schema: the source's tables, and what is known of their loads.

Beside the tables of ``contract.TABLES`` it has ``raw.loaded_intervals``, one row for each table
and interval, and ``raw.current_customer_keys``, the customers that the source had when the newest
interval was extracted.
"""

from __future__ import annotations

import duckdb

from ecommerce_pipeline.contract import TABLES, Table


def create_tables(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the tables that are not there yet."""
    connection.execute("CREATE SCHEMA IF NOT EXISTS raw")
    for table in TABLES:
        columns = ", ".join(
            f'"{c.name}" {c.type.duckdb}{"" if c.nullable else " NOT NULL"}' for c in table.columns
        )
        connection.execute(f'CREATE TABLE IF NOT EXISTS raw."{table.name}" ({columns})')
    connection.execute(
        "CREATE TABLE IF NOT EXISTS raw.current_customer_keys"
        " (id BIGINT NOT NULL, as_of TIMESTAMPTZ NOT NULL)"
    )
    connection.execute(
        "CREATE TABLE IF NOT EXISTS raw.loaded_intervals (table_name VARCHAR NOT NULL,"
        " interval_start TIMESTAMPTZ NOT NULL, interval_end TIMESTAMPTZ NOT NULL,"
        " row_count BIGINT NOT NULL)"
    )


def row_version(table: Table, alias: str) -> str:
    """The SQL row value by which two versions of a row compare; the higher one wins."""
    # DuckDB's row values compare from left to right, and NULL is higher than any value: there are
    # no two different rows of which neither is higher.
    names = ("updated_at", *table.column_names)
    return "row(" + ", ".join(f'{alias}."{name}"' for name in names) + ")"
