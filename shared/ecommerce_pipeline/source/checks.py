"""What is checked of a source's table before its rows are read, and the errors that name a row."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ecommerce_pipeline.contract import Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.base import Source

SET_A_TIME = "give each such row the time of its last change"
SET_A_KEY = "give each such row a key"
CORRECT_THE_ROW = "correct that row in the source"


def check_columns(source: Source, table: Table) -> tuple[str, ...]:
    """Compare the source's columns with the contract's; the result warns of added ones.

    Raises:
        PipelineError: the table or one of its columns is missing, or a column's type changed.
    """
    found = source.columns(table)
    problems, conversions = [], []
    for column in table.columns:
        info = found.get(column.name)
        if info is None:
            problems.append(f"has no column {column.name}")
        elif info.type is not column.type:
            problems.append(
                f"declares {column.name} as {info.declared_type or 'nothing'},"
                f" not as {source.type_names[column.type]}"
            )
            if info.conversion:
                conversions.append(info.conversion)
    if problems:
        raise PipelineError(
            f"the source table {table.name} {' and '.join(problems)}",
            "; ".join(conversions)
            or "change the source back, or change contract.py and what builds on that column",
        )
    added = [name for name in found if name not in table.column_names]
    return tuple(
        f"the source column {table.name}.{name} is not in the contract and is left out"
        for name in added
    )


def unusable_rows_query(
    table: Table, condition: str, shown: Sequence[str], order: Sequence[str]
) -> str:
    """The statement that selects the first row that meets a condition, and counts such rows.

    Args:
        table: the table.
        condition: SQL.
        shown: the expressions of the result, before the count.
        order: the expressions of the key, to sort by.
    """
    return (
        f'SELECT {", ".join(shown)}, count(*) OVER () FROM "{table.name}" WHERE {condition}'
        f" ORDER BY {', '.join(order)} LIMIT 1"
    )


def repeated_keys_query(table: Table, shown: Sequence[str], key: Sequence[str]) -> str:
    """The statement that selects the first key of several rows, their number, and counts such keys.

    Args:
        table: the table.
        shown: the key as it is shown.
        key: the expressions by which keys are compared.
    """
    keys = ", ".join(key)
    return (
        f'SELECT {", ".join(shown)}, count(*), count(*) OVER () FROM "{table.name}"'
        f" GROUP BY {keys} HAVING count(*) > 1 ORDER BY {keys} LIMIT 1"
    )


def row_error(
    table: Table, problem: str, key: Sequence[object], hint: str, count: int = 1
) -> PipelineError:
    """The error that names the row, or the first of several.

    Args:
        table: the table.
        problem: the column and what is wrong with it.
        key: the row's values of the key columns.
        hint: what to do.
        count: the number of such rows.
    """
    named = show_key(table, key)
    rows = f"the row with {named}" if count == 1 else f"{count} rows, the first with {named}"
    return PipelineError(f"{table.name}.{problem}, in {rows}", hint)


def repeated_keys_error(
    table: Table, key: Sequence[object], rows: int, count: int
) -> PipelineError:
    """The error that names a key of several rows, or the first of several such keys."""
    named = show_key(table, key)
    keys = f"the key {named}" if count == 1 else f"{count} keys in several rows, the first {named}"
    return PipelineError(
        f"{table.name} has {keys} in {rows} rows",
        "leave one row for each key in the source,"
        f" which a primary key on ({', '.join(table.key)}) ensures",
    )


def show_key(table: Table, key: Sequence[object]) -> str:
    """The key columns with their values."""
    return ", ".join(f"{name}={value!r}" for name, value in zip(table.key, key, strict=True))


def not_utf8_error(table: Table, column: str, value: bytes, key: Sequence[object]) -> PipelineError:
    """The error that names text of other bytes than UTF-8, which the key may hold as well."""
    shown = [decoded(bytes(each)) if isinstance(each, bytes) else each for each in key]
    problem = f"{column} holds {bytes(value)!r}, which is not text in UTF-8"
    return row_error(table, problem, shown, CORRECT_THE_ROW)


def key_of_row(table: Table, batch: pa.RecordBatch, index: int) -> list[object]:
    """A row's values of the key columns, which need not be valid."""
    return [_shown(batch.column(name), index) for name in table.key]


def _shown(values: pa.Array, index: int) -> object:
    if not pa.types.is_timestamp(values.type):
        value = (
            values[index].cast(pa.binary()) if pa.types.is_string(values.type) else values[index]
        )
        found: object = value.as_py()
        return decoded(found) if isinstance(found, bytes) else found
    try:
        time = values[index].as_py()
    except (OverflowError, ValueError):  # Python's calendar ends before Arrow's
        return "a time outside the years 1 to 9999"
    return time and time.isoformat().replace("+00:00", "Z")


def decoded(text: bytes) -> str | bytes:
    """The text, or its bytes where they are no UTF-8."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text
