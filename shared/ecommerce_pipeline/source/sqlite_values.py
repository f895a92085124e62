"""Values between SQLite, which types each value by itself, and Arrow, which types columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from ecommerce_pipeline.contract import Column, ColumnType, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.checks import row_error

_PYTHON_TYPES = {ColumnType.INTEGER: int, ColumnType.TEXT: str, ColumnType.TIMESTAMP: int}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """The microseconds from 1970-01-01 UTC to an aware moment."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The UTC moment that many microseconds after 1970-01-01 UTC."""
    return _EPOCH + microseconds * _MICROSECOND


FIRST_MICROSECOND = microseconds(datetime.min.replace(tzinfo=UTC))
LAST_MICROSECOND = microseconds(datetime.max.replace(tzinfo=UTC))


def to_arrow(
    table: Table,
    columns: Sequence[Column],
    column: Column,
    values: Sequence[Any],
    rows: Sequence[tuple[Any, ...]],
) -> pa.Array:
    """One column's values as an Arrow array of the contract's type.

    Args:
        table: the table.
        columns: the columns of the rows.
        column: the one to convert.
        values: its values.
        rows: the rows, from which a message takes the key.

    Raises:
        PipelineError: a value is of another type, or text has a NUL; names the first such row.
    """
    # SQLite keeps a value of any type in a column that is not STRICT, so every value is checked;
    # the set of types makes that one quick pass, and only a failure searches for the row.
    expected = _PYTHON_TYPES[column.type]
    if not set(map(type, values)) <= {expected, type(None)}:
        index = next(i for i, v in enumerate(values) if not isinstance(v, (expected, type(None))))
        raise _misfit(
            table,
            columns,
            column,
            rows[index],
            f"a {type(values[index]).__name__}, not {column.type.value}",
        )
    if expected is str and any("\0" in value for value in values if value is not None):
        index = next(i for i, v in enumerate(values) if v is not None and "\0" in v)
        raise _misfit(table, columns, column, rows[index], "text with a NUL character")
    return pa.array(values, column.type.arrow)


def python_rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """An Arrow table's rows as SQLite stores them, with times as microseconds."""
    for batch in table.to_batches(max_chunksize=20_000):
        columns = [
            (array.cast(pa.int64()) if pa.types.is_timestamp(array.type) else array).to_pylist()
            for array in batch.columns
        ]
        yield from zip(*columns, strict=True)


def _misfit(
    table: Table, columns: Sequence[Column], column: Column, row: tuple[Any, ...], what: str
) -> PipelineError:
    named = dict(zip((each.name for each in columns), row, strict=True))
    key = [named[name] for name in table.key]
    problem = f"{column.name} holds {what}"
    return row_error(table, problem, key, "correct that row in the source")
