"""The orders that are extracted, and the comparison of extracted files with them.

``python shop.py fill ROWS`` puts them into the database whose URL is in ``BENCHMARK_URL``;
``python shop.py check FOLDER ROWS`` compares the Parquet files below a folder with them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.dataset as ds

from ecommerce_pipeline.contract import ORDERS
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import TableChanges, connect
from ecommerce_pipeline.storage.landing import KEY_SNAPSHOT_SUFFIX

URL_VARIABLE = "BENCHMARK_URL"
INTERVAL = DataInterval(datetime(2025, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
_BLOCK_ROWS = 250_000
_STATUSES = pa.array(["pending", "processing", "shipped", "delivered", "cancelled"])
_LAST_CREATION = timedelta(days=330)
_UPDATE_WITHIN = timedelta(days=30)


def blocks(start: int, end: int, total: int) -> Iterator[pa.Table]:
    """The orders with ``start <= id < end`` of ``total``, the same ones every time.

    They are created one after another over 330 days and updated within 30 days of that.
    """
    for first in range(start, end, _BLOCK_ROWS):
        ids = np.arange(first, min(first + _BLOCK_ROWS, end), dtype=np.int64)
        # Keyed by the block: a block has the same numbers whichever blocks were made before it.
        draws = np.random.Generator(np.random.Philox(key=[1, first])).random((4, len(ids)))
        span = _LAST_CREATION // timedelta(microseconds=1)
        created = int(INTERVAL.start.timestamp()) * 1_000_000 + ids * (span // total)
        delay = draws[0] * (_UPDATE_WITHIN // timedelta(microseconds=1))
        subtotal = (draws[1] * 50_000).astype(np.int64) + 1
        columns = [
            ids,
            (draws[2] * 100_000).astype(np.int64),
            _STATUSES.take(pa.array((draws[3] * len(_STATUSES)).astype(np.int64))),
            subtotal,
            np.full(len(ids), 825, np.int64),
            subtotal + subtotal * 825 // 10_000,
            pa.array(created).cast(pa.timestamp("us", tz="UTC")),
            pa.array(created + delay.astype(np.int64)).cast(pa.timestamp("us", tz="UTC")),
        ]
        yield pa.table(columns, schema=ORDERS.arrow_schema)


def fill(url: str, rows: int) -> None:
    """Replace the database's orders by ``rows`` generated ones."""
    with closing(connect(url)) as source:
        source.drop_tables()
        source.create_tables()
        for block in blocks(0, rows, rows):
            with source.transaction():
                source.apply(TableChanges(ORDERS.name, block))
    # Otherwise autovacuum could start during a measurement, and plans change with its statistics.
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) orders")


def check(folder: Path, rows: int) -> dict[str, object]:
    """Whether the Parquet files below the folder have the source's types and values, and a note."""
    # Sorted, and without the columns that a method adds: only some methods keep the order of rows.
    names = ORDERS.arrow_schema.names
    snapshots = set(folder.rglob(f"*{KEY_SNAPSHOT_SUFFIX}"))
    found = ds.dataset(sorted(set(folder.rglob("*.parquet")) - snapshots)).to_table(columns=names)
    found = found.sort_by("id")
    changed = {
        field.name: str(field.type)
        for field, expected in zip(found.schema, ORDERS.arrow_schema, strict=True)
        if _meaning(field.type) != expected.type
    }
    note = ", ".join(f"{name} is {kind}" for name, kind in changed.items())
    expected_rows = pa.concat_tables(blocks(0, rows, rows))
    try:
        values = found.cast(ORDERS.arrow_schema).equals(expected_rows)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        values, note = False, str(error).splitlines()[0]
    return {"types": not changed, "values": values, "note": note}


def _meaning(kind: pa.DataType) -> pa.DataType:
    """The type without differences that lose nothing: width of offsets, spelling of UTC."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_timestamp(kind) and kind.tz == "+00:00":
        return pa.timestamp(kind.unit, tz="UTC")
    return kind


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "fill":
        fill(os.environ[URL_VARIABLE], int(arguments[0]))
    else:
        print(json.dumps(check(Path(arguments[0]), int(arguments[1]))))  # noqa: T201 (the command's own output)
