"""Publishing: the published copy of the marts and the snapshot, replaced whole.

``published`` is a link to a version below ``.published/``; a version is never changed once the
link points to it. Earlier versions are kept for readers who have one open.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import hidden_sibling, remove_leftovers, sync_file, sync_folder
from ecommerce_pipeline.files.crash_points import crash_point
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.files.permissions import share
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import published_versions, raw, warehouse
from ecommerce_pipeline.storage.duckdb_connection import connect_duckdb
from ecommerce_pipeline.storage.parquet import parquet_table
from ecommerce_pipeline.storage.published import (
    DATABASE,
    Manifest,
    PublishedTable,
    parquet_file,
    qualified,
)

SCHEMAS = ("marts", "snapshots")
LOCK_WAIT_SECONDS = 60.0


def publish(context: StepContext) -> StepResult:
    """Replace ``published/`` by the warehouse's marts and snapshot as they are now.

    A version holds ``warehouse.duckdb``, ``<schema>/<table>.parquet`` and ``manifest.json``.

    Raises:
        PipelineError: the warehouse is locked or has no marts, a type has no exact form in
            Parquet, the disk refuses, or ``PIPELINE_PUBLISHED_KEEP_HOURS`` is no number of hours;
            readers keep the previous copy.
    """
    link = context.run.published
    if link.exists() and not link.is_symlink():
        found = "folder" if link.is_dir() else "file"
        raise PipelineError(
            f"{link} is not the link that publish replaces, but a {found}",
            "move it away and publish again",
        )
    with (
        _as_publish_error(link),
        exclusive(context.run.published_versions / ".lock", wait_seconds=LOCK_WAIT_SECONDS),
    ):
        version, manifest = _replace(context)
    return StepResult(
        rows={name.partition(".")[2]: table.rows for name, table in manifest.tables.items()},
        details={"version": version.name, "newest_interval": str(manifest.newest_interval)},
    )


@contextmanager
def _as_publish_error(link: Path) -> Iterator[None]:
    """Turn an error of the disk or of DuckDB into one that names the published copy."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        raise PipelineError(
            f"{link} could not be replaced and is as it was: {error}",
            "free disk space or fix the permissions, then publish again",
            retryable=True,
        ) from error


def _replace(context: StepContext) -> tuple[Path, Manifest]:
    """Build a version, point the link to it, and remove the versions that have expired."""
    versions, link = context.run.published_versions, context.run.published
    keep_hours = published_versions.keep_hours()
    remove_leftovers(link)
    building = versions / ".building"
    shutil.rmtree(building, ignore_errors=True)  # what a killed publisher left
    replaced = link.resolve()
    # Also before: with a full disk no publication would succeed, and none would free the space.
    kept = published_versions.up_to(versions, replaced)
    published_versions.remove_expired(versions, keep_hours, kept=kept)
    published_versions.make_room(versions, replaced, kept=kept)
    try:
        manifest = _build(context, building)
        version = building.rename(versions / published_versions.next_name(versions))
    finally:
        shutil.rmtree(building, ignore_errors=True)
    # The version must be on the disk before the link that points to it.
    sync_folder(versions)
    published_versions.mark_replaced(replaced)
    _replace_link(link, version)
    kept = [version.name, replaced.name]
    published_versions.remove_expired(versions, keep_hours, kept=kept)
    for earlier in versions.glob("[0-9]*"):  # the readers may be others by now
        share(earlier, context.run.path)
    return version, manifest


def _replace_link(link: Path, version: Path) -> None:
    # A link cannot be changed in place; renaming another one over it is atomic.
    fresh = hidden_sibling(link)
    fresh.symlink_to(version.relative_to(link.parent))
    crash_point("publish:before_rename")
    fresh.replace(link)
    sync_folder(link.parent)
    crash_point("publish:after_rename")


def _build(context: StepContext, folder: Path) -> Manifest:
    """Write a whole version to the disk; its files are for reading only."""
    source = warehouse.connect(context.run.warehouse, read_only=True)
    # The inner conversion first: an error of DuckDB in this block is one of writing the copy, which
    # the warehouse's own conversion would report as one of the warehouse.
    with source as private, _as_publish_error(context.run.published):
        newest, covered = _newest_interval(private, context), raw.covered(private)
        tables = {name: _write_parquet(private, folder, *name) for name in _table_names(private)}
    with connect_duckdb(folder / DATABASE) as copy:
        for name, written in tables.items():
            # DuckDB writes a HUGEINT to Parquet as DOUBLE, which is not exact.
            if _copy_from_parquet(copy, folder, *name) != written:
                raise PipelineError(
                    f"{'.'.join(name)} reads back from Parquet otherwise than it was written",
                    "give its columns types that Parquet has: BIGINT or DECIMAL, not HUGEINT",
                )
        copy.execute("CHECKPOINT")  # here a full disk raises; at close it would pass unseen
    manifest = Manifest(
        interval=context.interval,
        newest_interval=newest,
        tables={f"{schema}.{table}": summary for (schema, table), summary in tables.items()},
        covered=covered,
    )
    manifest.write(folder)
    for path in [*folder.rglob("*"), folder]:
        if path.is_file():
            path.chmod(0o400)  # DuckDB opens a file for writing by default
        sync_file(path)
    share(folder, context.run.path)
    return manifest


def _newest_interval(private: duckdb.DuckDBPyConnection, context: StepContext) -> DataInterval:
    newest = raw.newest_interval(private)
    if newest is None:
        raise PipelineError(
            f"the warehouse {context.run.warehouse} holds no data interval",
            "run the step load_raw first",
        )
    return newest


def _table_names(private: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """The tables to publish; what a killed dbt left half-made is none of them."""
    names: list[tuple[str, str]] = private.execute(
        "SELECT schema_name, table_name FROM duckdb_tables()"
        " WHERE schema_name IN ? AND NOT contains(table_name, '__dbt_') ORDER BY ALL",
        [SCHEMAS],
    ).fetchall()
    if not any(schema == "marts" for schema, _ in names):
        raise PipelineError(
            "the warehouse holds no table in the schema marts", "run the step dbt_run_marts first"
        )
    return names


def _write_parquet(
    private: duckdb.DuckDBPyConnection, folder: Path, schema: str, table: str
) -> PublishedTable:
    file = parquet_file(folder, schema, table)
    file.parent.mkdir(parents=True, exist_ok=True)
    private.execute(
        f"COPY {qualified(schema, table)} TO ? (FORMAT parquet, COMPRESSION zstd)", [str(file)]
    )
    return _summary(private, qualified(schema, table))


def _copy_from_parquet(
    copy: duckdb.DuckDBPyConnection, folder: Path, schema: str, table: str
) -> PublishedTable:
    name = qualified(schema, table)
    copy.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
    file = parquet_file(folder, schema, table)
    copy.execute(f"CREATE TABLE {name} AS FROM {parquet_table(file)}")
    return _summary(copy, name)


def _summary(connection: duckdb.DuckDBPyConnection, name: str) -> PublishedTable:
    # A sum does not depend on the rows' order and, unlike XOR, counts a row that occurs twice.
    relation = connection.table(name)
    kinds = map(str, relation.types)
    [(rows, checksum)] = connection.execute(
        f"SELECT count(*), coalesce(sum(hash(t)), 0) % (1::HUGEINT << 64) FROM {name} AS t"
    ).fetchall()
    return PublishedTable(
        columns=dict(zip(relation.columns, kinds, strict=True)),
        rows=rows,
        checksum=f"{int(checksum):016x}",
    )
