"""Loading: an interval's landing files merged into the raw schema, last writer wins.

The outcome depends on which rows were ever landed, not on the order or the number of loads.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import CUSTOMERS, TABLES, Table
from ecommerce_pipeline.files.crash_points import crash_point
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import landing, warehouse
from ecommerce_pipeline.storage.parquet import parquet_table
from ecommerce_pipeline.storage.raw import create_tables, row_version


def load_raw(context: StepContext) -> StepResult:
    """Merge the interval's five landing files into ``raw`` in one transaction.

    Raises:
        PipelineError: a landing file is missing, truncated or not what its sidecar says, or the
            warehouse stays locked.
    """
    files = {table: context.run.landing_file(table.name, context.interval) for table in TABLES}
    rows = {table.name: landing.verify(table, path).rows for table, path in files.items()}
    with warehouse.connect(context.run.warehouse) as connection:
        with warehouse.transaction(connection):
            create_tables(connection)
            for table, path in files.items():
                _merge(connection, table, path)
                _note_interval(connection, table, context.interval, rows[table.name])
            _replace_current_customer_keys(connection, context)
            crash_point("load:before_commit")
        crash_point("load:after_commit")
    return StepResult(rows=rows)


def _merge(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> None:
    """Insert new keys and replace older rows; of two rows with one key the newer wins.

    Rows compare by ``updated_at``, then by their whole content.
    """
    # The whole row, because two extractions can have the same updated_at and differ: the source may
    # change a row twice within a microsecond, or without setting the time. By the time alone the
    # row that was loaded first would win, and the result would depend on the order of the loads.
    # The window function is for a source without a primary key, in which a key may occur twice.
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    key = ", ".join(f'"{name}"' for name in table.key)
    same_key = " AND ".join(f'target."{name}" = incoming."{name}"' for name in table.key)
    connection.execute(
        f"""
        MERGE INTO raw."{table.name}" AS target
        USING (
            SELECT {columns} FROM {parquet_table(path)} AS landed
            QUALIFY row_number() OVER (
                PARTITION BY {key} ORDER BY {row_version(table, "landed")} DESC
            ) = 1
        ) AS incoming
        ON {same_key}
        WHEN MATCHED AND {row_version(table, "incoming")} > {row_version(table, "target")}
            THEN UPDATE
        WHEN NOT MATCHED THEN INSERT
        """
    )


def _note_interval(
    connection: duckdb.DuckDBPyConnection, table: Table, interval: DataInterval, rows: int
) -> None:
    # The table has no primary key; the delete makes a repeated load leave one row.
    identity = [table.name, interval.start, interval.end]
    connection.execute(
        "DELETE FROM raw.loaded_intervals"
        " WHERE table_name = ? AND interval_start = ? AND interval_end = ?",
        identity,
    )
    connection.execute("INSERT INTO raw.loaded_intervals VALUES (?, ?, ?, ?)", [*identity, rows])


def _replace_current_customer_keys(
    connection: duckdb.DuckDBPyConnection, context: StepContext
) -> None:
    """Keep the key snapshot of the newest interval, by which deleted customers are known."""
    # An older interval, loaded again or late, must not bring deleted customers back. An equal end
    # is this interval again, which replaces the keys.
    end = context.interval.end
    newer = connection.execute(
        "SELECT count(*) FROM raw.loaded_intervals WHERE table_name = ? AND interval_end > ?",
        [CUSTOMERS.name, end],
    ).fetchall()
    if newer[0][0]:
        return
    path = context.run.key_snapshot_file(CUSTOMERS.name, context.interval)
    connection.execute("DELETE FROM raw.current_customer_keys")
    connection.execute(
        f"INSERT INTO raw.current_customer_keys SELECT id, ? FROM {parquet_table(path)}", [end]
    )
