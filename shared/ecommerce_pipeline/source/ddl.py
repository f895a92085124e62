"""The SQL that both source databases share, derived from the contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ecommerce_pipeline.contract import Column, ColumnType, Table

STATE_TABLE = "pipeline_source_state"
CREATE_STATE = (
    f"CREATE TABLE IF NOT EXISTS {STATE_TABLE}"
    " (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)"
)
SELECT_STATE = f"SELECT name, value FROM {STATE_TABLE}"
DELETE_STATE = f"DELETE FROM {STATE_TABLE}"


def quoted(names: Iterable[str]) -> str:
    """The identifiers, quoted and separated by commas."""
    return ", ".join(f'"{name}"' for name in names)


def create_table(table: Table, types: Mapping[ColumnType, str], suffix: str = "") -> str:
    """The statement that makes a contract table with its primary key, where missing."""
    columns = ", ".join(
        f'"{c.name}" {types[c.type]}{"" if c.nullable else " NOT NULL"}' for c in table.columns
    )
    return (
        f'CREATE TABLE IF NOT EXISTS "{table.name}"'
        f" ({columns}, PRIMARY KEY ({quoted(table.key)})){suffix}"
    )


def create_index(table: Table, collation: str = "") -> str:
    """The statement that makes the index from which an interval's rows are read in order."""
    return (
        f'CREATE INDEX IF NOT EXISTS "{table.name}_updated_at"'
        f' ON "{table.name}" ("updated_at", {key_order(table, collation)})'
    )


def key_order(table: Table, collation: str = "") -> str:
    """The key columns to sort by; text compares by its bytes under ``collation``."""
    return ", ".join(
        f'"{column.name}"{collation if column.type is ColumnType.TEXT else ""}'
        for column in key_columns(table)
    )


def key_columns(table: Table) -> tuple[Column, ...]:
    """The columns of the table's key, in its order."""
    by_name = {column.name: column for column in table.columns}
    return tuple(by_name[name] for name in table.key)


def key_and_time_columns(table: Table) -> tuple[Column, ...]:
    """The columns of the table's key, in its order, and ``updated_at``."""
    return (*key_columns(table), *(c for c in table.columns if c.name == "updated_at"))


def on_conflict_update(table: Table) -> str:
    """The clause with which an insert replaces the row of the same key."""
    others = [name for name in table.column_names if name not in table.key]
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in others)
    return f"ON CONFLICT ({quoted(table.key)}) DO UPDATE SET {updates}"
