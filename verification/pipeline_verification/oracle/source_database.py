"""Reads a source database that no data set filled, without the steps' code."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa

from ecommerce_pipeline.contract import TABLES, Table
from pipeline_verification.oracle.source_state import Frames, frame

BATCH_ROWS = 50_000
_SQLITE = "sqlite:///"


def read_tables(url: str) -> Frames:
    """The current rows of the contract's tables, by table name.

    SQLite keeps times as microseconds since 1970 UTC or as ISO 8601 text, PostgreSQL as
    TIMESTAMPTZ.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://…``, with the password if it needs one.

    Raises:
        sqlite3.Error, psycopg.Error: the database cannot be read.
    """
    with closing(_connect(url)) as connection:
        return {table.name: frame(_read(connection.cursor(), table)) for table in TABLES}


def _connect(url: str) -> sqlite3.Connection | psycopg.Connection[Any]:
    if url.startswith(_SQLITE):
        path = Path(url.removeprefix(_SQLITE)).absolute()
        return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    connection = psycopg.connect(url)
    connection.execute("SET DateStyle TO ISO")  # the only one that psycopg reads
    return connection


def _read(cursor: sqlite3.Cursor | psycopg.Cursor[Any], table: Table) -> pa.Table:
    columns = ", ".join(f'"{name}"' for name in table.column_names)
    cursor.execute(f'SELECT {columns} FROM "{table.name}"')
    return pa.Table.from_batches(_batches(cursor, table.arrow_schema), table.arrow_schema)


def _batches(
    cursor: sqlite3.Cursor | psycopg.Cursor[Any], schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    while rows := cursor.fetchmany(BATCH_ROWS):
        columns = zip(zip(*rows, strict=True), schema.types, strict=True)
        yield pa.RecordBatch.from_arrays([_array(*column) for column in columns], schema=schema)


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind) and any(isinstance(value, str) for value in values):
        values = [value and _time(value) for value in values]
    return pa.array(values, kind)


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
