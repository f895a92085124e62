"""The comparison of warehouses: what is equal, restrictions, and messages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline_verification.compare import Difference, compare, compare_table

Tables = dict[str, pa.Table]
Damage = Callable[..., Path]


def test_equal_warehouses(warehouse: Path, damaged: Damage, expected: Tables) -> None:
    """A copy differs in nothing, from its original and from the oracle."""
    assert compare(warehouse, damaged()) == []
    for table, rows in expected.items():
        may_be_empty = table.startswith("raw.deleted_") and table != "raw.deleted_customers"
        assert rows.num_rows > 0 or may_be_empty, f"{table} has no row to damage"
        assert compare_table(warehouse, table, rows) == []


def test_order_of_rows_is_irrelevant(warehouse: Path, damaged: Damage) -> None:
    """The same rows in another order are equal."""
    reversed_rows = "CREATE OR REPLACE TABLE {0} AS FROM {0} ORDER BY rowid DESC"
    tables = ("raw.orders", "marts.fct_page_views")
    assert compare(warehouse, damaged(*map(reversed_rows.format, tables))) == []


def test_table_missing_from_the_warehouse(damaged: Damage, expected: Tables) -> None:
    """A table that the oracle has and the warehouse lacks is named."""
    name = "marts.dim_products"
    changed = damaged(f"DROP TABLE {name}")
    assert compare_table(changed, name, expected[name]) == [
        Difference(name, f"missing from {changed}")
    ]


def test_schemas_restrict_the_comparison(warehouse: Path, damaged: Damage) -> None:
    """Only the named schemas are compared where some are named."""
    changed = damaged("DROP TABLE raw.orders", "CREATE TABLE marts.extra (id INTEGER)")
    differences = compare(warehouse, changed, schemas={"marts"})
    assert [difference.table for difference in differences] == ["marts.extra"]


def test_oracle_against_chosen_rows(warehouse: Path, expected: Tables) -> None:
    """Under a condition the table's other rows are left out."""
    first = expected["raw.orders"].slice(0, 1)
    number = first["id"][0].as_py()
    assert compare_table(warehouse, "raw.orders", first, where=f"id = {number}") == []
    assert compare_table(warehouse, "raw.orders", first) != []


def test_message_shows_a_few_rows_of_each_side(warehouse: Path, damaged: Damage) -> None:
    """The message counts the rows that only one side has, and shows the first five."""
    changed = damaged(
        "DELETE FROM raw.products WHERE id = 2",
        "INSERT INTO raw.products SELECT i, 'x', NULL, NULL, 0, 'epoch', 'epoch'"
        " FROM range(10, 17) AS numbers (i)",
    )
    (difference,) = compare(warehouse, changed)
    assert f"1 rows only in {warehouse}" in difference.message
    assert f"7 rows only in {changed}" in difference.message
    assert difference.message.count("'sku': 'x'") == 5
    assert "'sku': 'b'" in difference.message


def test_missing_file(warehouse: Path, tmp_path: Path) -> None:
    """A warehouse that is not there is an error, never an equal."""
    with pytest.raises(duckdb.IOException, match=r"nothing\.duckdb"):
        compare(warehouse, tmp_path / "nothing.duckdb")
