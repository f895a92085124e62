"""The rows of a SQLite table that the pipeline could not extract."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ecommerce_pipeline.contract import ColumnType, Table
from ecommerce_pipeline.source import checks, ddl
from ecommerce_pipeline.source.sqlite_times import TextTimes
from ecommerce_pipeline.source.sqlite_values import (
    FIRST_MICROSECOND,
    LAST_MICROSECOND,
    NO_TEXT_TIME,
    TEXT_TIME_HINT,
)

_SAMPLE_ROWS = 100
# As microseconds these numbers lie in 1970 to 1973, as seconds or milliseconds in 1973 to 5138.
_UNITS = {
    "seconds": (100_000_000, 100_000_000_000, 1_000_000),
    "milliseconds": (100_000_000_000, 100_000_000_000_000, 1_000),
}
_STRICT = "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?"
_UNIQUE_INDEXES = 'SELECT name FROM pragma_index_list(?) WHERE "unique" AND NOT partial'


@dataclass(frozen=True, slots=True)
class _UnusableTime:
    """A condition on updated_at under which no interval holds the row."""

    condition: str
    problem: str
    hint: str = checks.SET_A_TIME


def check_rows(connection: sqlite3.Connection, table: Table, times: TextTimes) -> None:
    """Refuse rows that no interval holds, and a key in several rows.

    Args:
        connection: an open connection.
        table: the table, whose columns are those of the contract.
        times: which of its times are text.

    Raises:
        sqlite3.Error: the file cannot be read.
        PipelineError: there are such rows; names the first of them and their number.
    """
    shown = [f'"{name}"' for name in table.key]
    key = times.order(ddl.key_columns(table))
    value = times.value("updated_at")
    for unusable in _unusable_times(times, _is_strict(connection, table)):
        query = checks.unusable_rows_query(table, unusable.condition, [value, *shown], key)
        if found := connection.execute(query).fetchone():
            stored, *values, count = found
            problem = f"updated_at {unusable.problem.format(value=stored)}"
            raise checks.row_error(table, problem, values, unusable.hint, count)
    for column in table.columns:
        if column.type is ColumnType.TIMESTAMP and column.name not in {"updated_at", *times.names}:
            _check_unit(connection, table, column.name)
    if not _has_unique_key(connection, table, times):
        query = checks.repeated_keys_query(table, shown, key)
        if found := connection.execute(query).fetchone():
            *values, rows, count = found
            raise checks.repeated_keys_error(table, values, rows, count)


def _unusable_times(times: TextTimes, strict: bool) -> list[_UnusableTime]:
    missing = _UnusableTime('"updated_at" IS NULL', "is NULL")
    if "updated_at" in times.names:
        value = times.value("updated_at")
        return [missing, _UnusableTime(f"typeof({value}) = 'text'", NO_TEXT_TIME, TEXT_TIME_HINT)]
    other_type = _UnusableTime(
        "typeof(\"updated_at\") NOT IN ('integer', 'null')",
        "holds {value!r}, not an integer of microseconds since 1970",
        "store all times of that column as such integers, or as ISO 8601 text in a TEXT column",
    )
    outside = _UnusableTime(
        f'"updated_at" < {FIRST_MICROSECOND} OR "updated_at" > {LAST_MICROSECOND}',
        "is infinite or outside the years 1 to 9999",
    )
    units = [
        _UnusableTime(
            f'"updated_at" >= {first} AND "updated_at" < {end}',
            _in_unit("{value}", unit),
            _convert("updated_at", factor),
        )
        for unit, (first, end, factor) in _UNITS.items()
    ]
    # In a STRICT table SQLite itself has checked each value's type.
    return [missing, *([] if strict else [other_type]), outside, *units]


def _check_unit(connection: sqlite3.Connection, table: Table, column: str) -> None:
    """Refuse seconds and milliseconds by the newest rows, so that the table is not read whole."""
    names = ", ".join(f'"{name}"' for name in (column, *table.key))
    rows = connection.execute(
        f'SELECT {names} FROM "{table.name}" WHERE "{column}" IS NOT NULL'
        f' ORDER BY "updated_at" DESC LIMIT {_SAMPLE_ROWS}'
    ).fetchall()
    for unit, (first, end, factor) in _UNITS.items():
        if rows and all(isinstance(v, int) and first <= v < end for v, *_ in rows):
            value, *key = rows[0]
            problem = f"{column} {_in_unit(repr(value), unit)}"
            raise checks.row_error(table, problem, key, _convert(column, factor))


def _in_unit(value: str, unit: str) -> str:
    return f"holds {value}, which are {unit} since 1970 and not microseconds"


def _convert(column: str, factor: int) -> str:
    return f"store {column} * {factor} in the source, or offer it so in a view of that name"


def _is_strict(connection: sqlite3.Connection, table: Table) -> bool:
    row = connection.execute(_STRICT, [table.name]).fetchone()
    return bool(row and row[0])


def _has_unique_key(connection: sqlite3.Connection, table: Table, times: TextTimes) -> bool:
    """Whether SQLite itself refuses a second row of a key."""
    columns = connection.execute(
        "SELECT name FROM pragma_table_info(?) WHERE pk > 0", [table.name]
    ).fetchall()
    candidates = [{name for (name,) in columns}]
    for (index,) in connection.execute(_UNIQUE_INDEXES, [table.name]).fetchall():
        names = connection.execute("SELECT name FROM pragma_index_info(?)", [index]).fetchall()
        candidates.append({name for (name,) in names})  # None stands for an expression
    # One time may be written in several ways, which an index of text keeps apart.
    unique = set(table.key) - times.names
    return any(names and names <= unique for names in candidates)
