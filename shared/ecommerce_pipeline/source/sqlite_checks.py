"""The rows of a SQLite table that the pipeline could not extract."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from ecommerce_pipeline.contract import ColumnType, Table
from ecommerce_pipeline.errors import PipelineError
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
class _UnusableRow:
    """A condition under which no interval holds the row, or the row has no key."""

    condition: str
    problem: str
    hint: str = checks.SET_A_TIME


def check_rows(connection: sqlite3.Connection, table: Table, times: TextTimes) -> None:
    """Refuse rows that no interval holds or that have no key, and a key in several rows.

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
    unusable = _unusable_times(table, times, _is_strict(connection, table))
    unusable += [
        _UnusableRow(f'"{name}" IS NULL', f"{name} is NULL", checks.SET_A_KEY)
        for name in _nullable_keys(connection, table)
    ]
    for each in unusable:
        query = checks.unusable_rows_query(table, each.condition, [value, *shown], key)
        if found := connection.execute(query).fetchone():
            stored, *values, count = found
            problem = each.problem.format(value=stored)
            raise checks.row_error(table, problem, values, each.hint, count)
    for column in table.columns:
        if column.type is ColumnType.TIMESTAMP and column.name not in {"updated_at", *times.names}:
            _check_unit(connection, table, column.name)
    if not _has_unique_key(connection, table, times):
        query = checks.repeated_keys_query(table, shown, key)
        if found := connection.execute(query).fetchone():
            *values, rows, count = found
            raise checks.repeated_keys_error(table, values, rows, count)


def _unusable_times(table: Table, times: TextTimes, strict: bool) -> list[_UnusableRow]:
    missing = _UnusableRow('"updated_at" IS NULL', "updated_at is NULL")
    if "updated_at" in times.names:
        value = times.value("updated_at")
        return [
            missing,
            _UnusableRow(f"typeof({value}) = 'text'", f"updated_at {NO_TEXT_TIME}", TEXT_TIME_HINT),
        ]
    other_type = _UnusableRow(
        "typeof(\"updated_at\") NOT IN ('integer', 'null')",
        "updated_at holds {value!r}, not an integer of microseconds since 1970",
        "store all times of that column as such integers, or as ISO 8601 text in a TEXT column",
    )
    outside = _UnusableRow(
        f'"updated_at" < {FIRST_MICROSECOND} OR "updated_at" > {LAST_MICROSECOND}',
        "updated_at is infinite or outside the years 1 to 9999",
    )
    units = [
        _UnusableRow(
            f'"updated_at" >= {first} AND "updated_at" < {end}',
            _in_unit("updated_at", "{value}", unit),
            _convert(table, "updated_at", factor),
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
            problem = _in_unit(column, repr(value), unit)
            raise checks.row_error(table, problem, key, _convert(table, column, factor))


def _in_unit(column: str, value: str, unit: str) -> str:
    return f"{column} holds {value}, which are {unit} since 1970 and not microseconds"


def _convert(table: Table, column: str, factor: int) -> str:
    return (
        f"store {column} * {factor} in the source, or rename the table and select that in a view"
        f" named {table.name}"
    )


def not_utf8(connection: sqlite3.Connection, table: Table) -> PipelineError | None:
    """The error that names the first row with text that is no UTF-8; None where there is none.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    kept, connection.text_factory = connection.text_factory, _Undecoded
    try:
        rows = connection.execute(f'SELECT {ddl.quoted(table.column_names)} FROM "{table.name}"')
        for row in rows:
            for name, value in zip(table.column_names, row, strict=True):
                if isinstance(value, _Undecoded) and isinstance(checks.decoded(value), bytes):
                    values = dict(zip(table.column_names, row, strict=True))
                    return checks.not_utf8_error(table, name, value, [values[k] for k in table.key])
    finally:
        connection.text_factory = kept
    return None


class _Undecoded(bytes):
    """Text as SQLite keeps it, apart from its BLOBs, which are bytes as well."""


def _is_strict(connection: sqlite3.Connection, table: Table) -> bool:
    row = connection.execute(_STRICT, [table.name]).fetchone()
    return bool(row and row[0])


def _nullable_keys(connection: sqlite3.Connection, table: Table) -> list[str]:
    declared = connection.execute(
        'SELECT name FROM pragma_table_xinfo(?) WHERE NOT "notnull"', [table.name]
    )
    return [name for (name,) in declared if name in table.key]


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
