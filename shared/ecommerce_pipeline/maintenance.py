"""What a person does by hand: rebuild a lost warehouse, resynchronize deleted rows.

Both keep the locks of the folder, so that no run and no step works in it meanwhile.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, PAGE_VIEWS, PRODUCTS, TABLES
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import sync_file, sync_folder
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.interval import DataInterval, uncovered
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.steps.load import load_intervals, load_raw, loaded_before, verified
from ecommerce_pipeline.storage import landing, published, raw, warehouse
from ecommerce_pipeline.storage.parquet import parquet_table
from ecommerce_pipeline.storage.published import parquet_file, qualified

_NO_LIMIT = 10**18
_ROWS_OF = {
    "marts.dim_customers": CUSTOMERS,
    "marts.dim_products": PRODUCTS,
    "marts.fct_orders": ORDERS,
    "marts.fct_page_views": PAGE_VIEWS,
}

Say = Callable[[str], None]


def rebuild_warehouse(settings: RunSettings, say: Say) -> DataInterval:
    """Replace the warehouse by one made of ``landing/`` and the published history.

    The raw schema is loaded from the landing files of all intervals in order; what the published
    copy has and no whole landing file does is extracted again. The snapshot is the published one.
    The marts are built by the next run. A warehouse that is there is kept beside the new one.

    Args:
        settings: the run's settings.
        say: called with a line for each interval.

    Returns:
        The newest interval, which has to be run again.

    Raises:
        PipelineError: a run works in the folder, or there is nothing to rebuild from.
    """
    run = settings.run
    with _alone(run):
        intervals = _restorable(settings, say)
        if not intervals:
            raise PipelineError(
                f"{run.path} has neither landing files nor a published copy",
                "name a run's folder, or run its intervals again",
            )
        building = run.warehouse.with_name("warehouse.rebuilding.duckdb")
        building.unlink(missing_ok=True)
        with warehouse.connect(building) as connection:
            with warehouse.transaction(connection):
                raw.create_tables(connection)
                for interval in intervals:
                    say(f"{interval.label}: loading")
                    _load(connection, settings, interval)
                _restore_snapshot(connection, run)
            connection.execute("CHECKPOINT")
        _put_in_place(building, run.warehouse)
    return intervals[-1]


def resynchronize(settings: RunSettings) -> DataInterval:
    """Find the deleted rows of every table, however large, by the keys that the source has now.

    Returns:
        The newest interval, which has to be run again to publish the outcome.

    Raises:
        PipelineError: a run works in the folder, nothing is loaded yet, or the source has lost more
            rows than allowed.
    """
    run = settings.run
    with _alone(run):
        if not run.warehouse.exists():
            raise PipelineError(
                f"there is no warehouse {run.warehouse}",
                "rebuild it with: ecommerce-pipeline rebuild-warehouse "
                f"{shlex.quote(str(run.path))}",
            )
        with warehouse.connect(run.warehouse) as connection:
            newest = raw.newest_interval(connection)
        if newest is None:
            raise PipelineError(
                f"the warehouse {run.warehouse} holds no data interval", "run an interval first"
            )
        context = replace(settings, key_snapshot_rows=_NO_LIMIT, lookback=0).context(newest)
        for table in TABLES:
            extract_table(context, table)
        load_raw(context)
    return newest


@contextmanager
def _alone(run: RunDirectory) -> Iterator[None]:
    if not (run.landing.exists() or run.published.exists() or run.warehouse.exists()):
        raise PipelineError(
            f"{run.path} has neither landing files nor a published copy", "name a run's folder"
        )
    with exclusive(run.driver_lock), exclusive(run.lock), exclusive(run.steps_lock):
        yield


def _restorable(settings: RunSettings, say: Say) -> list[DataInterval]:
    """The intervals to load, in order, after what was missing or damaged was extracted again."""
    run = settings.run
    whole = []
    loaded = loaded_before(run)
    for interval in landing.landed_intervals(run):
        if uncovered([interval], loaded):
            # Extracted and never loaded: the load may have refused it, and its own run decides.
            say(f"{interval.label}: left out, since it was not loaded before")
            continue
        try:
            verified(settings.context(interval))
        except PipelineError as error:
            say(f"{interval.label}: extracting again, since {error.message}")
            _extract(settings, interval)
        whole.append(interval)
    for missing in uncovered(loaded, whole):
        say(f"{missing.label}: extracting again, since its landing files are missing")
        _extract(settings, missing)
        whole.append(missing)
    return sorted(whole, key=lambda interval: (interval.end, interval.start))


def _extract(settings: RunSettings, interval: DataInterval) -> None:
    for table in TABLES:
        extract_table(replace(settings, lookback=0).context(interval), table)
    _raise_if_another_source(settings, interval)


def _load(
    connection: duckdb.DuckDBPyConnection, settings: RunSettings, interval: DataInterval
) -> None:
    # What had been accepted once is accepted again.
    context = replace(settings, max_key_loss=1.0).context(interval)
    load_intervals(connection, context, {interval: verified(context)})


def _raise_if_another_source(settings: RunSettings, extracted: DataInterval) -> None:
    """Refuse a source with far fewer rows than were published: it is another one, or empty.

    Raises:
        PipelineError: a table has lost more rows than ``max_key_loss`` allows.
    """
    run = settings.run
    if not run.published.exists():
        return
    tables = published.Manifest.read(published.resolve(run)).tables
    for mart, table in _ROWS_OF.items():
        rows = landing.read_sidecar(run.landing_file(table.name, extracted)).source_rows
        before = tables[mart].rows if mart in tables else 0
        if before - rows > max(1, settings.max_key_loss * before):
            raise PipelineError(
                f"the source has {rows} rows of {table.name}, of which {before} are published",
                "set PIPELINE_SOURCE_URL to the source from which they came, for what landing/"
                " lacks is extracted again; or allow the loss with PIPELINE_MAX_KEY_LOSS=1",
            )


def _restore_snapshot(connection: duckdb.DuckDBPyConnection, run: RunDirectory) -> None:
    """Copy the published history; it is in no landing file."""
    folder = run.published.resolve()
    if not folder.exists():
        return
    connection.execute("CREATE SCHEMA IF NOT EXISTS snapshots")
    for name in published.Manifest.read(folder).tables:
        schema, _, table = name.partition(".")
        if schema == "snapshots":
            file = parquet_file(folder, schema, table)
            connection.execute(
                f"CREATE TABLE {qualified(schema, table)} AS FROM {parquet_table(file)}"
            )


def _put_in_place(building: Path, target: Path) -> None:
    """Rename the new file over the old one, of which a copy stays under another name."""
    log = target.with_name(target.name + ".wal")
    for old in (target, log):
        if old.exists():
            kept = old.with_name(f"{old.name}.before-rebuild")
            while kept.exists():
                kept = kept.with_name(f"{kept.name}-again")
            old.replace(kept)
    sync_file(building)
    building.replace(target)
    sync_folder(target.parent)
