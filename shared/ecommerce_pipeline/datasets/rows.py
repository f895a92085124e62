"""Arrow tables of the contract's rows, and their packing into changes of bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecommerce_pipeline.contract import Table
from ecommerce_pipeline.source.base import TableChanges

Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

BLOCK_ROWS = 100_000
"""The most rows in one ``TableChanges`` of a data set."""
DAY_MICROSECONDS = 86_400_000_000


def midnight_of(day: date) -> int:
    """The start of the UTC day in microseconds since 1970."""
    return (day - date(1970, 1, 1)).days * DAY_MICROSECONDS


def day_slice(moments: Int64Array, day: date) -> slice:
    """Where the ascending moments, in microseconds since 1970, lie in the UTC day."""
    start = midnight_of(day)
    first, last = np.searchsorted(moments, [start, start + DAY_MICROSECONDS])
    return slice(int(first), int(last))


def arrow_table(
    table: Table, columns: Mapping[str, Int64Array | pa.Array | pa.ChunkedArray]
) -> pa.Table:
    """Make a table in the contract's exact schema; timestamps are microseconds since 1970, UTC."""
    schema = table.arrow_schema
    arrays = [_column(columns[field.name]).cast(field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def null_where(is_null: BoolArray, values: Int64Array) -> pa.Array:
    """The values as an Arrow column that is NULL where the mask says so."""
    return pa.array(values, mask=is_null)


def in_blocks(table: Table, pieces: Iterable[pa.Table]) -> Iterator[TableChanges]:
    """Join consecutive tables into upserts of at most ``BLOCK_ROWS`` rows, leaving out empty ones.

    No table may have more than ``BLOCK_ROWS`` rows.
    """
    waiting: list[pa.Table] = []
    rows = 0
    for piece in pieces:
        if waiting and rows + piece.num_rows > BLOCK_ROWS:
            yield TableChanges(table.name, pa.concat_tables(waiting))
            waiting, rows = [], 0
        if piece.num_rows:
            waiting.append(piece)
            rows += piece.num_rows
    if waiting:
        yield TableChanges(table.name, pa.concat_tables(waiting))


def deletion(table: Table, keys: Int64Array) -> TableChanges:
    """The deletion of the rows with these keys; the table's key is one integer column."""
    (name,) = table.key
    schema = pa.schema([table.arrow_schema.field(name)])
    return TableChanges(
        table.name,
        upserts=table.arrow_schema.empty_table(),
        deleted_keys=pa.table([pa.array(keys)], schema=schema),
    )


def _column(values: Int64Array | pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    return pa.array(values) if isinstance(values, np.ndarray) else values
