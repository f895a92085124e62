"""The rows of a PostgreSQL table that the pipeline could not extract."""

from __future__ import annotations

from typing import Any

import psycopg

from ecommerce_pipeline.contract import ColumnType, Table
from ecommerce_pipeline.source import checks, ddl

# Both also find infinity. An index on updated_at finds such rows without reading the others.
_UNUSABLE_TIMES = {
    '"updated_at" IS NULL': "is NULL",
    "\"updated_at\" < '0001-01-01 00:00Z' OR \"updated_at\" >= '10000-01-01 00:00Z'": (
        "is infinite or outside the years 1 to 9999"
    ),
}
# A unique index on some of the key's columns, without condition and expression. That of a table
# from which others inherit does not cover their rows; that of a partitioned table does.
_UNIQUE_KEY = """
    SELECT EXISTS (
        SELECT FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
        WHERE c.oid = to_regclass(%s) AND i.indisunique AND i.indisvalid
            AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (c.relkind = 'p' OR NOT EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid))
            AND NOT EXISTS (
                SELECT FROM generate_series(0, i.indnkeyatts - 1) AS n
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = i.indkey[n]
                WHERE a.attname <> ALL (%s::text[])
            )
    )
"""
_NULLABLE = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attname = ANY (%s::text[]) AND NOT attnotnull
    ORDER BY attnum
"""
Connection = psycopg.Connection[tuple[Any, ...]]


def check_rows(connection: Connection, table: Table, bytewise: str) -> None:
    """Refuse rows that no interval holds or that have no key, and a key in several rows.

    Args:
        connection: an open connection.
        table: the table, whose columns are those of the contract.
        bytewise: the collation under which text compares by its bytes.

    Raises:
        psycopg.Error: the server reports an error, as it does where a policy hides rows.
        PipelineError: there are such rows; names the first of them and their number.
    """
    columns = ddl.key_columns(table)
    key = [f'"{c.name}"{bytewise}' if c.type is ColumnType.TEXT else f'"{c.name}"' for c in columns]
    # Times as text, as Python's type cannot hold all of PostgreSQL's.
    shown = [
        f"({expression})::text" if column.type is ColumnType.TIMESTAMP else expression
        for column, expression in zip(columns, key, strict=True)
    ]
    conditions = [
        (condition, f"updated_at {problem}", checks.SET_A_TIME)
        for condition, problem in _UNUSABLE_TIMES.items()
    ]
    nullable = connection.execute(_NULLABLE, [f'"{table.name}"', list(table.key)]).fetchall()
    conditions += [
        (f'"{name}" IS NULL', f"{name} is NULL", checks.SET_A_KEY) for (name,) in nullable
    ]
    for condition, problem, hint in conditions:
        query = checks.unusable_rows_query(table, condition, shown, key)
        if found := connection.execute(query.encode()).fetchone():
            *values, count = found
            raise checks.row_error(table, problem, values, hint, count)
    if _has_unique_key(connection, table):
        return
    query = checks.repeated_keys_query(table, shown, key)
    if found := connection.execute(query.encode()).fetchone():
        *values, rows, count = found
        raise checks.repeated_keys_error(table, values, rows, count)


def _has_unique_key(connection: Connection, table: Table) -> bool:
    """Whether the server itself refuses a second row of a key."""
    row = connection.execute(_UNIQUE_KEY, [f'"{table.name}"', list(table.key)]).fetchone()
    return bool(row and row[0])
