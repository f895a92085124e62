"""Extraction: one table's rows of one data interval, from the source to Parquet.

The file depends on the rows alone: its bytes are the same whichever database the rows come from,
and in whichever batches.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import Column, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.source import Source, checks, connect
from ecommerce_pipeline.source.checks import check_columns
from ecommerce_pipeline.storage import landing
from ecommerce_pipeline.storage.landing import FileDigest, Sidecar

ROW_GROUP_ROWS = 500_000
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # also a quota, and a limit of file sizes


def extract_table(context: StepContext, table: Table) -> StepResult:
    """Write the interval's rows to ``landing/``, ordered by ``updated_at`` and key.

    Also the keys that the source has now, by which deleted rows are found; of a table with more
    than ``key_snapshot_rows`` rows only the later ones. And again the rows of as many earlier
    intervals as ``lookback`` says, of those that were extracted before. All are read in one
    transaction.

    Raises:
        PipelineError: the source cannot be read, has lost or changed a column, contains a value
            that the contract forbids, a row that no interval holds or a key in several rows; or
            the disk is full. Nothing half-written stays.
    """
    path = context.run.landing_file(table.name, context.interval)
    with (
        _disk_errors(path.parent),
        contextlib.closing(connect(context.source_url)) as source,
        source.transaction(),
    ):
        warnings = check_columns(source, table)
        source.check_rows(table)
        earlier = landing.landed_before(context, table)
        for interval in earlier:
            _extract_again(source, table, context.run.landing_file(table.name, interval))
        sidecar = _extract(source, table, context, path, warnings)
    details: dict[str, str | int | float] = {"bytes": sidecar.file.bytes}
    if earlier:
        details["lookback_intervals"] = len(earlier)
    if warnings:
        details["warnings"] = "; ".join(warnings)
    return StepResult(rows={table.name: sidecar.rows}, details=details)


def _extract(
    source: Source, table: Table, context: StepContext, path: Path, warnings: tuple[str, ...]
) -> Sidecar:
    """Write the interval's rows, its key snapshot and its sidecar; return the sidecar."""
    interval = context.interval
    source_rows = source.count_rows(table)
    has_all_keys = source_rows <= context.key_snapshot_rows
    with contextlib.ExitStack() as files:  # both are whole before either is renamed
        rows_file = files.enter_context(atomic_file(path, point="landing"))
        digest, sums = _write_rows(source, table, interval, rows_file)
        keys_file = files.enter_context(
            atomic_file(landing.key_snapshot_file(path), point="landing")
        )
        keys = source.read_keys(table, since=None if has_all_keys else interval.end)
        key_rows = _write(keys_file, landing.key_schema(table), keys)
        sidecar = Sidecar(
            table=table.name,
            interval=interval,
            file=digest,
            sums=sums,
            extracted_at=datetime.now(UTC),
            source_rows=source_rows,
            key_snapshot=FileDigest.of(keys_file, key_rows),
            has_all_keys=has_all_keys,
            warnings=warnings,
        )
    # Last: its checksums make the files valid. A kill between the renames leaves files that do not
    # match the sidecar, and the load refuses them.
    landing.write_sidecar(path, sidecar, table.arrow_schema)
    return sidecar


def _extract_again(source: Source, table: Table, path: Path) -> None:
    """Replace the rows of a landed interval; its keys stay as they were at its own extraction."""
    old = landing.read_sidecar(path)
    with atomic_file(path, point="landing") as rows_file:
        digest, sums = _write_rows(source, table, old.interval, rows_file)
    sidecar = replace(old, file=digest, sums=sums, extracted_at=datetime.now(UTC))
    landing.write_sidecar(path, sidecar, table.arrow_schema)


def _write_rows(
    source: Source, table: Table, interval: DataInterval, rows_file: Path
) -> tuple[FileDigest, dict[str, int]]:
    """Write an interval's rows; return the file's digest and the sum of each numeric column."""
    sums = {c.name: 0 for c in table.columns if c.name.endswith("_cents") or c.name == "quantity"}
    batches = _checked(table, source.read_interval(table, interval), sums)
    rows = _write(rows_file, table.arrow_schema, batches)
    return FileDigest.of(rows_file, rows), sums


def _checked(
    table: Table, batches: Iterable[pa.RecordBatch], sums: dict[str, int]
) -> Iterator[pa.RecordBatch]:
    """Pass the batches on, refuse NULL where the contract does, and add to ``sums``."""
    for batch in batches:
        for column in table.columns:
            if not column.nullable and batch.column(column.name).null_count:
                raise _null_error(table, batch, column)
        # While the batches pass, since the rows of an interval may not fit into memory.
        for name in sums:
            sums[name] += _exact_sum(batch.column(name))
        yield batch


def _null_error(table: Table, batch: pa.RecordBatch, column: Column) -> PipelineError:
    index = pc.index(batch.column(column.name).is_null(), True).as_py()
    key = checks.key_of_row(table, batch, index)
    problem = f"{column.name} holds NULL, which the contract forbids"
    return checks.row_error(table, problem, key, checks.CORRECT_THE_ROW)


def _exact_sum(integers: pa.Array) -> int:
    """The sum as DECIMAL(38): Arrow sums int64 as int64, which wraps around silently."""
    return int(pc.sum(integers.cast(pa.decimal128(38))).as_py() or 0)


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    """Write row groups in the background while the next is read; return the number of rows."""
    rows = 0
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    numbers = [name for name in schema.names if name not in texts]
    # Dictionaries suit texts that recur. The numbers and times of consecutive rows are close to
    # each other, and their differences need few bits.
    with (
        pq.ParquetWriter(
            path,
            schema,
            compression="zstd",
            use_dictionary=texts,
            column_encoding=dict.fromkeys(numbers, "DELTA_BINARY_PACKED"),
        ) as writer,
        ThreadPoolExecutor(1) as background,
    ):
        writing: Future[None] | None = None
        for group in _row_groups(batches):
            if writing is not None:
                writing.result()  # so two groups at most are in memory, and an error stops the step
            writing = background.submit(writer.write_table, group, row_group_size=ROW_GROUP_ROWS)
            rows += group.num_rows
        if writing is not None:
            writing.result()
    return rows


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of ``ROW_GROUP_ROWS`` rows each, the last one shorter.

    Each has one chunk: the boundaries of the source's batches would become page boundaries in the
    file, and its bytes would depend on the batches.
    """
    pending: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        pending.append(batch)
        count += batch.num_rows
        while count >= ROW_GROUP_ROWS:
            whole = pa.Table.from_batches(pending)
            yield whole.slice(0, ROW_GROUP_ROWS).combine_chunks()
            pending = whole.slice(ROW_GROUP_ROWS).to_batches()
            count -= ROW_GROUP_ROWS
    if count:
        yield pa.Table.from_batches(pending).combine_chunks()


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in _DISK_FULL
        raise PipelineError(
            f"cannot write to {folder}: {os.strerror(error.errno) if error.errno else error}",
            "free space there and run the step again" if full else "check the folder's rights",
        ) from error
