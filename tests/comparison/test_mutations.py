"""Every change of a warehouse is found: in values, rows, columns, types and tables."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_verification.compare import Difference, compare, compare_table

some_examples = settings(max_examples=25)
Tables = dict[str, pa.Table]
Damage = Callable[..., Path]
Change = tuple[str, str]

# By the type's first word, values that are nearly, but not quite, the one in the column.
NEAR_VALUES = {
    "BIGINT": ["{0} + 1", "{0} - 4294967296", "coalesce({0}, 0)", "NULL"],
    "VARCHAR": [
        "{0} || ' '",
        "upper({0})",
        "replace({0}, 'ë', 'e' || chr(776))",
        "coalesce({0}, '')",
        "nullif({0}, '')",
        "NULL",
    ],
    "DECIMAL": ["{0} + 0.01", "-{0}", "NULL"],
    "TIMESTAMP": ["{0} + INTERVAL 1 MICROSECOND", "coalesce({0}, 'epoch')", "NULL"],
    "DATE": ["{0} + 1", "NULL"],
}
NEAR_TYPES = {
    "BIGINT": ["INTEGER", "HUGEINT", "UBIGINT", "DOUBLE", "VARCHAR"],
    "VARCHAR": ["BLOB"],
    "DECIMAL": ["DOUBLE", "DECIMAL(17, 2)", "DECIMAL(18, 3)"],
    "TIMESTAMP": ["TIMESTAMP", "VARCHAR"],
    "DATE": ["TIMESTAMP", "VARCHAR"],
}


@pytest.fixture(scope="module")
def value_changes(warehouse: Path) -> list[Change]:
    """Every table with an UPDATE that changes one value of it."""
    changes = []
    with duckdb.connect(warehouse, read_only=True) as connection:
        for table, column, kind in columns(connection):
            for new in (value.format(f'"{column}"') for value in NEAR_VALUES[kind]):
                rows = connection.execute(
                    f'SELECT rowid FROM {table} WHERE "{column}" IS DISTINCT FROM ({new})'
                ).fetchall()
                changes += [
                    (table, f'UPDATE {table} SET "{column}" = {new} WHERE rowid = {row}')
                    for (row,) in rows
                ]
    return changes


@pytest.fixture(scope="module")
def column_changes(warehouse: Path) -> list[Change]:
    """Every table with an ALTER TABLE that changes a column's type or name, or the columns."""
    changes = []
    with duckdb.connect(warehouse, read_only=True) as connection:
        for table, column, kind in columns(connection):
            actions = [
                f'RENAME "{column}" TO "{column.upper()}"',
                f'DROP "{column}"',
                f'ADD COLUMN "{column}_again" INTEGER',
            ]
            actions += [
                f'ALTER "{column}" TYPE {near} USING try_cast("{column}" AS {near})'
                for near in NEAR_TYPES[kind]
            ]
            changes += [(table, f"ALTER TABLE {table} {action}") for action in actions]
    return changes


def columns(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Each column of each table with the first word of its type."""
    return connection.execute(
        "SELECT schema_name || '.' || table_name, column_name, regexp_extract(data_type, '^[A-Z]+')"
        " FROM duckdb_columns() WHERE NOT internal ORDER BY ALL"
    ).fetchall()


def assert_seen(warehouse: Path, changed: Path, table: str, expected: Tables) -> list[Difference]:
    """Assert that both comparisons find this table to differ, and no other."""
    between_files = compare(warehouse, changed)
    assert [difference.table for difference in between_files] == [table]
    assert compare_table(changed, table, expected[table])
    return between_files


@some_examples
@given(st.data())
def test_changed_value(
    warehouse: Path,
    damaged: Damage,
    expected: Tables,
    value_changes: list[Change],
    data: st.DataObject,
) -> None:
    """One value with the smallest change, in any table, row and column, is found and shown."""
    table, change = data.draw(st.sampled_from(value_changes))
    (difference,) = assert_seen(warehouse, damaged(change), table, expected)
    assert difference.message.count("1 rows only in") == 2


@some_examples
@given(st.data())
def test_changed_column(
    warehouse: Path,
    damaged: Damage,
    expected: Tables,
    column_changes: list[Change],
    data: st.DataObject,
) -> None:
    """A column of another type or name, one fewer or one more is seen even where values agree."""
    table, change = data.draw(st.sampled_from(column_changes))
    (difference,) = assert_seen(warehouse, damaged(change), table, expected)
    assert difference.message.startswith("columns ")


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO {0} FROM {0} LIMIT 1",
        "INSERT INTO {0} FROM {0}",
        "DELETE FROM {0} WHERE rowid = 0",
        "DELETE FROM {0}",
    ],
    ids=["one row twice", "every row twice", "one row missing", "no row"],
)
@pytest.mark.parametrize("table", ["raw.orders", "marts.dim_customers", "raw.deleted_customers"])
def test_changed_row_count(
    warehouse: Path, damaged: Damage, expected: Tables, table: str, change: str
) -> None:
    """A row too many, were it only a duplicate, or too few is seen."""
    assert_seen(warehouse, damaged(change.format(table)), table, expected)


def test_duplicate_in_place_of_another_row(
    warehouse: Path, damaged: Damage, expected: Tables
) -> None:
    """A duplicate row in place of another one is found, although the counts agree."""
    changed = damaged(
        "DELETE FROM raw.orders WHERE id = 1",
        "INSERT INTO raw.orders FROM raw.orders WHERE id = 2",
    )
    (difference,) = assert_seen(warehouse, changed, "raw.orders", expected)
    assert difference.message.count("'id': 2") == 1
    assert difference.message.count("'id': 1") == 1


def test_values_swapped_between_rows(warehouse: Path, damaged: Damage, expected: Tables) -> None:
    """Two rows with swapped values are found, although each column has the same values."""
    changed = damaged("UPDATE raw.orders SET user_id = 3 - user_id WHERE id IN (1, 2)")
    assert_seen(warehouse, changed, "raw.orders", expected)


def test_order_of_columns(warehouse: Path, damaged: Damage, expected: Tables) -> None:
    """The same columns in another order are seen."""
    changed = damaged(
        "CREATE OR REPLACE TABLE marts.dim_products AS"
        " SELECT sku, * EXCLUDE (sku) FROM marts.dim_products"
    )
    assert_seen(warehouse, changed, "marts.dim_products", expected)


def test_what_a_collation_hides(warehouse: Path, damaged: Damage, expected: Tables) -> None:
    """Text of another case is seen even under a collation that takes it for equal."""
    changed = damaged(
        "ALTER TABLE marts.dim_products ALTER category TYPE VARCHAR COLLATE NOCASE",
        "UPDATE marts.dim_products SET category = upper(category)",
    )
    assert_seen(warehouse, changed, "marts.dim_products", expected)


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("DROP TABLE marts.dim_products", "marts.dim_products"),
        ("CREATE TABLE marts.extra (id INTEGER)", "marts.extra"),
        ("CREATE TABLE main.extra (id INTEGER)", "main.extra"),
        ('CREATE SCHEMA "a b"; CREATE TABLE "a b"."c""d" (id INTEGER)', 'a b.c"d'),
        (
            "ALTER TABLE marts.dim_products RENAME TO spare;"
            "CREATE VIEW marts.dim_products AS FROM marts.spare",
            "marts.spare",
        ),
    ],
)
def test_set_of_tables(warehouse: Path, damaged: Damage, change: str, table: str) -> None:
    """A table that one side lacks is seen in whatever schema; a view is no table."""
    changed = damaged(change)
    side = changed if "CREATE" in change else warehouse
    assert Difference(table, f"only in {side}") in compare(warehouse, changed)
