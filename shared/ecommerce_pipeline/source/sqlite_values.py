"""Values between SQLite, which types each value by itself, and Arrow, which types columns."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from ecommerce_pipeline.contract import Column, ColumnType, Table
from ecommerce_pipeline.source.checks import CORRECT_THE_ROW, row_error

_PYTHON_TYPES = {ColumnType.INTEGER: int, ColumnType.TEXT: str, ColumnType.TIMESTAMP: int}
_EXPECTED = {
    ColumnType.INTEGER: "an integer",
    ColumnType.TEXT: "text",
    ColumnType.TIMESTAMP: "an integer of microseconds since 1970",
}
NO_TEXT_TIME = "holds {value}, not a time in ISO 8601"
TEXT_TIME_HINT = "write each time of that column as 2025-01-31T10:00:00Z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """The microseconds from 1970-01-01 UTC to an aware moment."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    """The UTC moment that many microseconds after 1970-01-01 UTC."""
    return _EPOCH + microseconds * _MICROSECOND


_INFINITE = 2**63 - 1
FIRST_MICROSECOND = microseconds(datetime.min.replace(tzinfo=UTC))
LAST_MICROSECOND = microseconds(datetime.max.replace(tzinfo=UTC))


def to_arrow(
    table: Table,
    columns: Sequence[Column],
    text_times: Collection[str],
    rows: Sequence[tuple[Any, ...]],
) -> pa.RecordBatch:
    """Rows as a batch of the contract's types.

    Args:
        table: the table.
        columns: the columns of the rows.
        text_times: those which the source keeps as text, and which are integers here.
        rows: at least one row.

    Raises:
        PipelineError: a value is of another type, or text has a NUL; names the first such row.
    """
    arrays = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        misfit = _first_misfit(column, values, column.name in text_times)
        if misfit is not None:
            index, what = misfit
            named = dict(zip((each.name for each in columns), rows[index], strict=True))
            hint = TEXT_TIME_HINT if column.name in text_times else CORRECT_THE_ROW
            key = [named[name] for name in table.key]
            raise row_error(table, f"{column.name} {what}", key, hint)
        arrays.append(pa.array(values, column.type.arrow))
    schema = pa.schema([table.arrow_schema.field(column.name) for column in columns])
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _first_misfit(column: Column, values: Sequence[Any], text_time: bool) -> tuple[int, str] | None:
    """The index of the first value that does not fit, and what is wrong with it."""
    # SQLite keeps a value of any type in a column that is not STRICT, so every value is checked;
    # the set of types makes that one quick pass, and only a failure searches for the row.
    expected = _PYTHON_TYPES[column.type]
    if not set(map(type, values)) <= {expected, type(None)}:
        index = next(i for i, v in enumerate(values) if not isinstance(v, (expected, type(None))))
        if text_time:
            return index, NO_TEXT_TIME.format(value=values[index])
        return index, f"holds {values[index]!r}, not {_EXPECTED[column.type]}"
    if expected is str and any("\0" in value for value in values if value is not None):
        index = next(i for i, v in enumerate(values) if v is not None and "\0" in v)
        return index, "holds text with a NUL character"
    if column.type is ColumnType.TIMESTAMP:
        return _first_infinite(values)
    return None


def _first_infinite(values: Sequence[Any]) -> tuple[int, str] | None:
    # DuckDB reads the outermost values of a time as infinite.
    present = [value for value in values if value is not None]
    if not present or (max(present) < _INFINITE and min(present) > -_INFINITE):
        return None
    index = next(i for i, v in enumerate(values) if v is not None and abs(v) >= _INFINITE)
    return index, "holds an infinite time"


def python_rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    """An Arrow table's rows as SQLite stores them, with times as microseconds."""
    for batch in table.to_batches(max_chunksize=20_000):
        columns = [
            (array.cast(pa.int64()) if pa.types.is_timestamp(array.type) else array).to_pylist()
            for array in batch.columns
        ]
        yield from zip(*columns, strict=True)
