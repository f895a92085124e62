"""Every version of every row of a data set's first days, in an in-memory database to query."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

import duckdb
import pyarrow as pa

from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.datasets.base import Dataset
from ecommerce_pipeline.source.base import TableChanges


def all_versions(dataset: Dataset, day_count: int) -> duckdb.DuckDBPyConnection:
    """Load the first days' changes.

    Each contract table holds all versions of its rows, with the ``day`` that brought the version
    and ``version``, counted from 0. ``deletions`` holds the ``table_name``, ``id`` and ``day``
    of what was deleted.
    """
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    changes: list[tuple[int, TableChanges]] = []
    for number in range(day_count):
        day = dataset.first_day + timedelta(days=number)
        changes += [(number, change) for change in dataset.changes(day)]
    for table in TABLES:
        _load_versions(connection, dataset, table, changes)
    _load_deletions(connection, dataset, changes)
    return connection


def _load_versions(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    table: Table,
    changes: Iterable[tuple[int, TableChanges]],
) -> None:
    upserts = [_with_day(c.upserts, number) for number, c in changes if c.table == table.name]
    empty = _with_day(table.arrow_schema.empty_table(), 0)
    connection.register("upserts", pa.concat_tables([empty, *upserts]))
    key = ", ".join(table.key)
    connection.execute(
        f"CREATE TABLE {table.name} AS SELECT * EXCLUDE day_number, ?::DATE + day_number AS day,"
        f" row_number() OVER (PARTITION BY {key} ORDER BY day_number) - 1 AS version FROM upserts",
        [dataset.first_day],
    )


def _load_deletions(
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    changes: Iterable[tuple[int, TableChanges]],
) -> None:
    connection.execute("CREATE TABLE deletions (table_name VARCHAR, id BIGINT, day DATE)")
    for number, change in changes:
        if change.deleted_keys is not None:
            connection.register("deleted", change.deleted_keys)
            connection.execute(
                "INSERT INTO deletions SELECT ?, id, ?::DATE FROM deleted",
                [change.table, dataset.first_day + timedelta(days=number)],
            )


def _with_day(rows: pa.Table, number: int) -> pa.Table:
    return rows.append_column("day_number", pa.repeat(pa.scalar(number, pa.int32()), len(rows)))
