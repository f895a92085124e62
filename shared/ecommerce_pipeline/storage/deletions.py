"""Rows that the source has deleted, and those that it has and the warehouse lacks.

A table's key snapshot says which rows the source had when an interval was extracted. That of the
newest interval counts; every loaded key that it lacks is in ``raw.deleted_<table>``. Of a table
that is too large for this, the snapshot has only the rows updated since the interval's end; with
them the number of rows tells how many were deleted, though not which.
"""

from __future__ import annotations

import shlex
from datetime import date
from pathlib import Path

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.storage import landing
from ecommerce_pipeline.storage.landing import Sidecar
from ecommerce_pipeline.storage.parquet import parquet_table
from ecommerce_pipeline.storage.raw import key_list, newest_interval, present, same_key

_SHOWN_DAYS = 3


def follow(
    connection: duckdb.DuckDBPyConnection, context: StepContext, table: Table, sidecar: Sidecar
) -> None:
    """Bring ``raw.deleted_<table>`` up to date after an interval's rows were merged.

    Raises:
        PipelineError: more keys have disappeared than ``max_key_loss`` allows, or a key snapshot
            that is needed cannot be read.
    """
    newest = newest_interval(connection) or sidecar.interval
    rows = context.run.landing_file(table.name, sidecar.interval)
    if sidecar.interval.end < newest.end:
        _follow_older(connection, context, table, sidecar, newest)
        return
    keys = landing.key_snapshot_file(rows)
    if sidecar.has_all_keys:
        before, lost = _count_lost(connection, table, keys)
        _raise_if_too_many(context, table, before=before, lost=lost)
        _replace(connection, table, keys)
    else:
        _undelete(connection, table, rows)
        _undelete(connection, table, keys)


def missing_rows(
    connection: duckdb.DuckDBPyConnection, context: StepContext, table: Table, sidecar: Sidecar
) -> list[str]:
    """Warnings of rows that the source has but ``raw`` lacks, or that only ``raw`` has.

    Only for the newest interval: what an older one's extraction saw says nothing of later ones.
    """
    newest = newest_interval(connection)
    if newest is not None and sidecar.interval.end < newest.end:
        return []
    keys = landing.key_snapshot_file(context.run.landing_file(table.name, sidecar.interval))
    missing = _by_key if sidecar.has_all_keys else _by_count
    return missing(connection, context, table, sidecar, keys)


def _follow_older(
    connection: duckdb.DuckDBPyConnection,
    context: StepContext,
    table: Table,
    sidecar: Sidecar,
    newest: DataInterval,
) -> None:
    """An older interval, loaded late or again, neither brings deleted rows back nor loses any."""
    rows = context.run.landing_file(table.name, sidecar.interval)
    newest_rows = context.run.landing_file(table.name, newest)
    newest_sidecar = landing.verify(table, newest_rows)
    if sidecar.extracted_at > newest_sidecar.extracted_at:
        # The source still had these rows after the newest interval was extracted.
        _undelete(connection, table, rows)
    elif newest_sidecar.has_all_keys:
        connection.execute(
            f'INSERT INTO raw."deleted_{table.name}" SELECT DISTINCT {key_list(table, "landed")}'
            f" FROM {parquet_table(rows)} AS landed"
            f" WHERE NOT EXISTS (FROM {parquet_table(landing.key_snapshot_file(newest_rows))}"
            " AS present"
            f" WHERE {same_key(table, 'present', 'landed')})"
            f' AND NOT EXISTS (FROM raw."deleted_{table.name}" AS deleted'
            f" WHERE {same_key(table, 'deleted', 'landed')})"
        )


def _undelete(connection: duckdb.DuckDBPyConnection, table: Table, rows: Path) -> None:
    connection.execute(
        f'DELETE FROM raw."deleted_{table.name}" AS deleted WHERE EXISTS'
        f" (FROM {parquet_table(rows)} AS landed WHERE {same_key(table, 'landed', 'deleted')})"
    )


def _count_lost(connection: duckdb.DuckDBPyConnection, table: Table, keys: Path) -> tuple[int, int]:
    """How many rows the source had, and how many of them it has lost since."""
    ((before, lost),) = connection.execute(
        f"SELECT (SELECT count(*) {present(table)}), (SELECT count(*) {present(table)}"
        f" AND NOT EXISTS (FROM {parquet_table(keys)} AS kept"
        f" WHERE {same_key(table, 'kept', 'loaded')}))"
    ).fetchall()
    return before, lost


def _raise_if_too_many(context: StepContext, table: Table, *, before: int, lost: int) -> None:
    """Refuse a source that was truncated or is being filled; one row alone may always go."""
    if lost > 1 and lost > context.max_key_loss * before:
        raise PipelineError(
            f"the source has lost {lost} of the {before} rows of {table.name} that it had, more"
            f" than the share of {context.max_key_loss:g} that may go in one interval",
            "if the table was truncated or is being filled, wait and run the interval again; if"
            " the rows were meant to go, run it once with PIPELINE_MAX_KEY_LOSS=1"
            " (run.py: --resume --max-key-loss 1)",
        )


def _replace(connection: duckdb.DuckDBPyConnection, table: Table, keys: Path) -> None:
    """Every loaded key that the snapshot lacks is deleted, and no other."""
    connection.execute(f'DELETE FROM raw."deleted_{table.name}"')
    connection.execute(
        f'INSERT INTO raw."deleted_{table.name}" SELECT {key_list(table, "loaded")}'
        f' FROM raw."{table.name}" AS loaded WHERE NOT EXISTS'
        f" (FROM {parquet_table(keys)} AS kept WHERE {same_key(table, 'kept', 'loaded')})"
    )


def _by_key(
    connection: duckdb.DuckDBPyConnection,
    _: StepContext,
    table: Table,
    sidecar: Sidecar,
    keys: Path,
) -> list[str]:
    """The rows from before the interval's end that are not loaded, or only as an older version."""
    days = connection.execute(
        "SELECT CAST(timezone('UTC', updated_at) AS DATE), count(*)"
        f" FROM {parquet_table(keys)} AS present"
        f' WHERE updated_at < ? AND NOT EXISTS (FROM raw."{table.name}" AS loaded'
        f" WHERE {same_key(table, 'loaded', 'present')}"
        " AND loaded.updated_at >= present.updated_at)"
        " GROUP BY ALL ORDER BY ALL",
        [sidecar.interval.end],
    ).fetchall()
    ((older,),) = connection.execute(
        f'SELECT count(*) FROM {parquet_table(keys)} AS present JOIN raw."{table.name}" AS loaded'
        f" ON {same_key(table, 'loaded', 'present')}"
        " WHERE loaded.updated_at > present.updated_at"
    ).fetchall()
    if older:
        return [
            f"{older} rows of {table.name} have an older updated_at in the source than was loaded;"
            " they stay as they were loaded until the source sets a later one",
            *_late(table, days),
        ]
    return _late(table, days)


def _late(table: Table, days: list[tuple[date, int]]) -> list[str]:
    """A warning of rows that are not loaded, by the UTC day of their ``updated_at``."""
    if not days:
        return []
    shown = [f"{count} updated on {day}" for day, count in days[:_SHOWN_DAYS]]
    more = [f"{len(days) - _SHOWN_DAYS} further days"] if len(days) > _SHOWN_DAYS else []
    return [
        f"the source has rows of {table.name} that are not loaded:"
        f" {', '.join([*shown, *more])}; run those intervals again, or set a lookback"
    ]


def _by_count(
    connection: duckdb.DuckDBPyConnection,
    context: StepContext,
    table: Table,
    sidecar: Sidecar,
    keys: Path,
) -> list[str]:
    """How the number of rows from before the interval's end differs from the source's.

    Raises:
        PipelineError: more rows have disappeared than ``max_key_loss`` allows.
    """
    # Rows that have changed since then are loaded as they were before.
    ((loaded,),) = connection.execute(
        f"SELECT count(*) {present(table)} AND updated_at < ?"
        f" AND NOT EXISTS (FROM {parquet_table(keys)} AS later"
        f" WHERE {same_key(table, 'later', 'loaded')})",
        [sidecar.interval.end],
    ).fetchall()
    surplus = loaded - (sidecar.source_rows - sidecar.key_snapshot.rows)
    if surplus < 0:
        return [
            f"{table.name}: {-surplus} rows of the source are not loaded; run the intervals in"
            " which they were updated again, or set a lookback"
        ]
    if surplus > 0:
        _raise_if_too_many(context, table, before=loaded, lost=surplus)
        return [
            f"{table.name}: {surplus} loaded rows are no longer in the source; remove them with:"
            f" ecommerce-pipeline resynchronize {shlex.quote(str(context.run.path))},"
            " then run the newest interval again"
        ]
    return []
