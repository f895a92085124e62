"""Loading: an interval's landing files merged into the raw schema, last writer wins.

The outcome depends on the latest landing file of each interval, not on the order or the number of
loads. ``deletions`` follows the rows that the source has deleted.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.crash_points import crash_point
from ecommerce_pipeline.interval import DataInterval, uncovered
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import deletions, journal, landing, published, warehouse
from ecommerce_pipeline.storage.landing import Sidecar
from ecommerce_pipeline.storage.parquet import parquet_table
from ecommerce_pipeline.storage.raw import covered, create_tables, row_version, same_key


def load_raw(context: StepContext) -> StepResult:
    """Merge the interval's five landing files, and those of the lookback, in one transaction.

    The details warn of time that no run has loaded, and of rows that the source has but ``raw``
    lacks, or the other way round.

    Raises:
        PipelineError: a landing file is missing, truncated or not what its sidecar says; the
            source has lost more rows than allowed; the warehouse lacks what was loaded before, or
            stays locked.
    """
    intervals = [*_lookback(context), context.interval]
    sidecars = {interval: verified(context.settings.context(interval)) for interval in intervals}
    with warehouse.connect(context.run.warehouse) as connection:
        with warehouse.transaction(connection):
            create_tables(connection)
            _raise_if_lost(connection, context)
            load_intervals(connection, context, sidecars)
            warnings = [
                *_gaps(connection),
                *(
                    warning
                    for table, sidecar in sidecars[context.interval].items()
                    for warning in deletions.missing_rows(connection, context, table, sidecar)
                ),
            ]
            crash_point("load:before_commit")
        crash_point("load:after_commit")
    rows = {table.name: each.rows for table, each in sidecars[context.interval].items()}
    return StepResult(rows=rows, details={"warnings": "; ".join(warnings)} if warnings else {})


def load_intervals(
    connection: duckdb.DuckDBPyConnection,
    context: StepContext,
    sidecars: Mapping[DataInterval, Mapping[Table, Sidecar]],
) -> None:
    """Merge the verified landing files of intervals; call it inside a transaction.

    Raises:
        PipelineError: the source has lost more rows than allowed.
    """
    for interval, tables in sidecars.items():
        for table, sidecar in tables.items():
            _merge(connection, table, context.run.landing_file(table.name, interval))
            _record_interval(connection, table, interval, sidecar.rows)
    # After all: only the keys of the newest interval count, and its rows must be known by then.
    for tables in sidecars.values():
        for table, sidecar in tables.items():
            deletions.follow(connection, context, table, sidecar)


def verified(context: StepContext) -> dict[Table, Sidecar]:
    """The sidecars of the interval's landing files, each after its file was verified.

    Raises:
        PipelineError: a landing file is missing, truncated or not what its sidecar says.
    """
    return {
        table: landing.verify(table, context.run.landing_file(table.name, context.interval))
        for table in TABLES
    }


def _lookback(context: StepContext) -> list[DataInterval]:
    """The earlier intervals whose files the extract steps have just replaced, in order."""
    landed = [landing.landed_before(context, table) for table in TABLES]
    return [interval for interval in landed[0] if all(interval in each for each in landed)]


def _raise_if_lost(connection: duckdb.DuckDBPyConnection, context: StepContext) -> None:
    """Refuse a new or an old warehouse in the place of the one that was loaded before."""
    # Without this, the next run would publish one interval's rows as if they were all.
    missing = uncovered(loaded_before(context.run), covered(connection))
    if missing:
        raise PipelineError(
            f"the warehouse {context.run.warehouse} lacks {missing[0]}"
            f"{' and more' if len(missing) > 1 else ''}, which was loaded before:"
            " the file was lost or replaced by an older one",
            "rebuild it from landing/ and published/ with: "
            f"ecommerce-pipeline rebuild-warehouse {shlex.quote(str(context.run.path))}",
        )


def loaded_before(run: RunDirectory) -> list[DataInterval]:
    """The time that was loaded, as the published copy and the journal have it.

    Raises:
        PipelineError: the published copy is damaged.
    """
    loaded = (
        DataInterval.parse(entry.interval)
        for entry in journal.read(run)
        if entry.step == "load_raw" and entry.outcome == SUCCESS
    )
    return [*published.covered(run), *loaded]


def _merge(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> None:
    """Insert new keys and replace rows that are not newer; within a file the newest wins.

    A row with the same ``updated_at`` is replaced: the interval was extracted again, after the
    source had changed the row without a new time.
    """
    # The window function is for a file with two rows of one key, which would make the result
    # depend on their order; extraction refuses a source that has them.
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    key = ", ".join(f'"{name}"' for name in table.key)
    connection.execute(
        f"""
        MERGE INTO raw."{table.name}" AS target
        USING (
            SELECT {columns} FROM {parquet_table(path)} AS landed
            QUALIFY row_number() OVER (
                PARTITION BY {key} ORDER BY {row_version(table, "landed")} DESC
            ) = 1
        ) AS incoming
        ON {same_key(table, "target", "incoming")}
        WHEN MATCHED AND incoming."updated_at" >= target."updated_at"
            AND {row_version(table, "incoming")} IS DISTINCT FROM {row_version(table, "target")}
            THEN UPDATE
        WHEN NOT MATCHED THEN INSERT
        """
    )


def _record_interval(
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


def _gaps(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """One warning for all time between the first and the newest interval that is not loaded."""
    loaded = covered(connection)
    missing = uncovered([DataInterval(loaded[0].start, loaded[-1].end)], loaded)
    if not missing:
        return []
    return [f"no run has loaded {', '.join(map(str, missing))}: run those intervals"]
