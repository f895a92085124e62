"""A source database that others made: the contract's tables without keys and constraints."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES, ColumnType, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.extract import extract_table

DAY = DataInterval.parse("2025-01-02")
NOON = "2025-01-02T12:00:00Z"
_SQLITE = "sqlite:///"
_NOON_MICROSECONDS = 1_735_819_200_000_000


def execute(url: str, *statements: str) -> None:
    """Run SQL in the database, which is made where it is a missing SQLite file."""
    if url.startswith(_SQLITE):
        with closing(sqlite3.connect(url.removeprefix(_SQLITE))) as file, file:
            for statement in statements:
                file.execute(statement)
    else:
        with psycopg.connect(url, autocommit=True) as server:
            for statement in statements:
                server.execute(statement.encode())


def create(url: str, *, time_type: str | None = None, strict: bool = False) -> None:
    """Make the five tables, empty, whose columns take NULL and whose keys may repeat.

    Args:
        url: the database.
        time_type: how the times are declared; default: the database's own form.
        strict: whether SQLite checks each value's type.
    """
    default = "INTEGER" if url.startswith(_SQLITE) else "timestamptz"
    types = {
        ColumnType.INTEGER: "INTEGER" if strict else "BIGINT",
        ColumnType.TEXT: "TEXT",
        ColumnType.TIMESTAMP: time_type or default,
    }
    for table in TABLES:
        columns = ", ".join(f'"{c.name}" {types[c.type]}' for c in table.columns)
        execute(url, f'CREATE TABLE "{table.name}" ({columns}){" STRICT" if strict else ""}')


def insert(url: str, table: Table, noon: str | None = None, **values: str) -> None:
    """Insert a row; the arguments are SQL, and a column without one has a value that fits.

    Args:
        url: the database.
        table: the table.
        noon: the time of every time column without a value; default: ``NOON``.
        values: SQL by column.
    """
    if noon is None:
        noon = str(_NOON_MICROSECONDS) if url.startswith(_SQLITE) else f"'{NOON}'"
    plain = {ColumnType.INTEGER: "1", ColumnType.TEXT: "'a'", ColumnType.TIMESTAMP: noon}
    row = {column.name: values.get(column.name, plain[column.type]) for column in table.columns}
    execute(url, f'INSERT INTO "{table.name}" VALUES ({", ".join(row.values())})')


def failure(url: str, folder: Path, table: Table) -> PipelineError:
    """What the extraction of ``DAY`` raises; it leaves no file."""
    context = StepContext(RunDirectory(folder / "run"), DAY, url)
    with pytest.raises(PipelineError) as caught:
        extract_table(context, table)
    assert [path for path in (folder / "run").rglob("*") if path.is_file()] == []
    assert not caught.value.retryable
    return caught.value
