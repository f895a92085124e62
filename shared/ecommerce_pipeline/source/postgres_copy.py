"""PostgreSQL's binary COPY format, decoded into Arrow column by column.

The format, from the PostgreSQL manual ("COPY", "Binary Format"): a header of 19 bytes; for each
row a 16-bit field count and for each field a 32-bit length, -1 for NULL, and that many bytes; at
the end a field count of -1. Numbers are big-endian; a timestamp is a count of microseconds from
2000-01-01 UTC.

Python code that runs for each row is slow. Here it is one call of libpq; NumPy decodes the columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
import pyarrow as pa
from psycopg import pq

from ecommerce_pipeline.contract import Column, ColumnType, Table
from ecommerce_pipeline.source.checks import (
    CORRECT_THE_ROW,
    decoded,
    key_of_row,
    not_utf8_error,
    row_error,
)

_HEADER_BYTES = 19
_COUNT_BYTES = 2
_LENGTH_BYTES = 4
_CHUNK_BYTES = 1 << 20
_PADDING = bytes(8)  # lets eight bytes be read wherever a field begins
_EPOCH_2000 = 946_684_800_000_000  # microseconds from 1970 to 2000
_INT64 = np.iinfo(np.int64)

_Integers = npt.NDArray[np.int64]


def read_copy(
    connection: psycopg.Connection,
    statement: bytes,
    table: Table,
    columns: Sequence[Column],
    *,
    check_text: bool = False,
) -> Iterator[pa.RecordBatch]:
    """Run a ``COPY … TO STDOUT (FORMAT binary)`` and yield its rows, about a megabyte at a time.

    If the caller stops before the end, the connection can only be closed.

    Args:
        connection: where no other statement runs until the end.
        statement: selects ``columns`` in their order, as bigint, text or timestamptz.
        table: the table read, for messages.
        columns: what the statement selects, the table's key among them.
        check_text: whether the server may send text that is no UTF-8.

    Raises:
        psycopg.Error: the server reports an error.
        PipelineError: a time is infinite or too far for Arrow's type, or text is no UTF-8; names
            the row.
    """
    for buffer, lengths in _chunks(connection.pgconn, statement):
        batch, endless = _decode(buffer, np.array(lengths, np.int64), table, columns)
        if endless is not None:
            column, index = endless
            raise row_error(
                table,
                f"{column.name} holds an infinite time or one past the year 294246",
                key_of_row(table, batch, index),
                CORRECT_THE_ROW,
            )
        if check_text:
            _check_text(table, batch)
        yield batch


def _check_text(table: Table, batch: pa.RecordBatch) -> None:
    """Refuse text that is no UTF-8."""
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        if not pa.types.is_string(values.type):
            continue
        for index, value in enumerate(values.cast(pa.binary()).to_pylist()):
            if value is not None and isinstance(decoded(value), bytes):
                raise not_utf8_error(table, name, value, key_of_row(table, batch, index))


def _chunks(pgconn: pq.abc.PGconn, statement: bytes) -> Iterator[tuple[bytearray, list[int]]]:
    """About a megabyte of messages each time, one after another, and the length of each.

    A message is a row, or else the trailer of two bytes or the end of length -1.
    """
    _require(pgconn.exec_(statement), pq.ExecStatus.COPY_OUT)
    # libpq's function, as psycopg's own ``Copy`` does more for each message.
    receive = pgconn.get_copy_data
    # The header comes in one message with the first row, or with the trailer where there is no row.
    length, data = receive(0)
    buffer, lengths = bytearray(data[_HEADER_BYTES:]), [length - _HEADER_BYTES]
    while length >= 0:
        if len(buffer) >= _CHUNK_BYTES:
            yield buffer, lengths
            buffer, lengths = bytearray(), []
        length, data = receive(0)  # at the end -1 and no data
        buffer += data
        lengths.append(length)
    # An error of the server while it sends, such as a cancelled query, is in the final result.
    while (result := pgconn.get_result()) is not None:
        _require(result, pq.ExecStatus.COMMAND_OK)
    yield buffer, lengths


def _require(result: pq.abc.PGresult, status: pq.ExecStatus) -> None:
    if result.status == status:
        return
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    message = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode()
    try:
        kind = psycopg.errors.lookup(state)
    except KeyError:
        kind = psycopg.OperationalError
    raise kind(message)


def _decode(
    buffer: bytearray, lengths: _Integers, table: Table, columns: Sequence[Column]
) -> tuple[pa.RecordBatch, tuple[Column, int] | None]:
    """The rows, and the first column and index of a time that does not fit."""
    starts = np.cumsum(lengths) - lengths
    cursor = starts[lengths > _COUNT_BYTES] + _COUNT_BYTES  # neither the trailer nor the end
    buffer += _PADDING
    # A row's next field begins where its last one ended, so the columns are decoded in order, and
    # ``cursor`` has each row's position.
    arrays = []
    endless = None
    for column in columns:
        sizes = _numbers(buffer, ">i4", cursor)
        # A NULL has the size -1 and takes no bytes.
        fields = _Fields(cursor + _LENGTH_BYTES, np.maximum(sizes, 0), sizes >= 0)
        if column.type is ColumnType.TEXT:
            arrays.append(_text(buffer, fields))
        else:
            # For NULL this is whatever bytes follow, or the padding; ``present`` masks it.
            values = _numbers(buffer, ">i8", fields.starts)
            if column.type is ColumnType.TIMESTAMP:
                outside = np.flatnonzero(_is_endless(values) & fields.present)
                if outside.size and endless is None:
                    endless = column, int(outside[0])
                values += _EPOCH_2000
            arrays.append(_array(column.type.arrow, fields.present, [values]))
        cursor = fields.starts + fields.sizes
    schema = pa.schema([table.arrow_schema.field(column.name) for column in columns])
    return pa.RecordBatch.from_arrays(arrays, schema=schema), endless


@dataclass(frozen=True, slots=True)
class _Fields:
    """Where each row's field of one column lies in the buffer, and whether it is not NULL."""

    starts: _Integers
    sizes: _Integers
    present: npt.NDArray[np.bool_]


def _numbers(buffer: bytearray, kind: str, starts: _Integers) -> _Integers:
    """The big-endian numbers that begin at these bytes."""
    # A view with a stride of one byte has a number at every byte, aligned or not.
    size = np.dtype(kind).itemsize
    at_each_byte = np.ndarray((len(buffer) - size + 1,), kind, buffer, strides=(1,))
    return at_each_byte[starts].astype(np.int64)


def _is_endless(values: _Integers) -> npt.NDArray[np.bool_]:
    """Which microseconds from 2000 do not fit once the epoch is moved back to 1970.

    PostgreSQL's -infinity and infinity are the lowest and the highest int64.
    """
    endless: npt.NDArray[np.bool_] = (values == _INT64.min) | (values > _INT64.max - _EPOCH_2000)
    return endless


def _text(buffer: bytearray, fields: _Fields) -> pa.Array:
    """Take the strings out of the buffer."""
    # Arrow's strings lie one after another, each ending where the next one begins. So the buffer
    # is read as one string array in which each field is followed by the bytes up to the next
    # field, and every other string is kept. No byte of the gaps is read as text.
    edges = np.full(2 * len(fields.starts) + 1, len(buffer), np.int32)
    edges[0:-1:2] = fields.starts
    edges[1::2] = fields.starts + fields.sizes
    pieces = _array(pa.string(), None, [edges, buffer], length=len(edges) - 1)
    values = pieces.take(_array(pa.int64(), None, [np.arange(0, len(pieces), 2)]))
    return _array(pa.string(), fields.present, values.buffers()[1:], length=len(values))


def _array(
    kind: pa.DataType,
    present: npt.NDArray[np.bool_] | None,
    buffers: Sequence[Any],
    length: int | None = None,
) -> pa.Array:
    """Wrap buffers without a copy; unlike ``pa.array`` this does not import pandas."""
    count = len(buffers[0]) if length is None else length
    validity = None
    if present is not None and not present.all():
        validity = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.Array.from_buffers(kind, count, [validity, *map(pa.py_buffer, buffers)])
