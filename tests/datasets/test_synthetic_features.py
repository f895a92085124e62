"""What the synthetic data set must hold within its first 14 days."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date

import duckdb
import pytest

from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.datasets.synthetic import Synthetic
from support.row_versions import all_versions

DAYS = 14


@pytest.fixture(scope="module")
def versions() -> Iterator[duckdb.DuckDBPyConnection]:
    """All versions of all rows of the first 14 days at the default options."""
    with closing(all_versions(Synthetic(), DAYS)) as connection:
        yield connection


def _one(versions: duckdb.DuckDBPyConnection, query: str) -> int:
    """The number that a query gives."""
    ((number,),) = versions.execute(query).fetchall()
    return int(number)


@pytest.mark.parametrize(
    ("table", "rows"),
    [
        ("customers", 306),
        ("products", 82),
        ("orders", 440),
        ("order_items", 1082),
        ("page_views", 552),
    ],
)
def test_first_day(versions: duckdb.DuckDBPyConnection, table: str, rows: int) -> None:
    """The first day brings about 300 customers, 80 products and a day's orders and page views."""
    assert len(versions.table(table).filter("day = '2025-01-01'")) == rows


@pytest.mark.parametrize("table", [table.name for table in TABLES])
def test_new_rows(versions: duckdb.DuckDBPyConnection, table: str) -> None:
    """Each table gets new rows on all but the empty day and, page views apart, the ninth."""
    arrivals = versions.table(table).filter("version = 0")
    days = {day.day for (day,) in arrivals.project("day").distinct().fetchall()}
    assert days == set(range(1, DAYS + 1)) - ({4} if table == "page_views" else {4, 9})


def test_wholly_empty_days() -> None:
    """The fourth day of each 14 changes nothing at all."""
    changes = Synthetic().changes
    assert [list(changes(date(2025, 1, 4))), list(changes(date(2025, 1, 18)))] == [[], []]


def test_day_of_one_table() -> None:
    """The ninth day of each 14 changes page views only, corrections included."""
    for day in (date(2025, 1, 9), date(2025, 1, 23)):
        assert {change.table for change in Synthetic().changes(day)} == {"page_views"}


def test_status_changes(versions: duckdb.DuckDBPyConnection) -> None:
    """Orders arrive pending or as tests and take just these steps, each of which occurs."""
    steps = versions.execute(
        """
        SELECT DISTINCT before, status
        FROM (SELECT status, lag(status) OVER (PARTITION BY id ORDER BY version) AS before
              FROM orders)
        WHERE before IS DISTINCT FROM status
        """
    ).fetchall()
    assert set(steps) == {
        (None, "pending"),
        (None, "test"),
        ("pending", "processing"),
        ("pending", "cancelled"),
        ("processing", "shipped"),
        ("processing", "cancelled"),
        ("shipped", "delivered"),
    }


def test_price_changes(versions: duckdb.DuckDBPyConnection) -> None:
    """Most products change their price; a product's later version always has another price."""
    changes = versions.execute(
        """
        SELECT id, price_cents - lag(price_cents) OVER (PARTITION BY id ORDER BY version) AS change
        FROM products QUALIFY change IS NOT NULL
        """
    ).fetchall()
    assert len({product for product, _ in changes}) > 40
    assert all(change != 0 for _, change in changes)


@pytest.mark.parametrize("column", ["email", "name", "country"])
def test_customer_changes(versions: duckdb.DuckDBPyConnection, column: str) -> None:
    """Some customers change this column on a later day."""
    before = f"lag({column}) OVER (PARTITION BY id ORDER BY version)"
    customers = versions.table("customers")
    changes = customers.project(f"version > 0 AND {column} IS DISTINCT FROM {before} AS changed")
    assert len(changes.filter("changed")) > 5


@pytest.mark.parametrize(
    ("table", "moment"),
    [("customers", "created_at"), ("orders", "created_at"), ("page_views", "viewed_at")],
)
def test_late_rows(versions: duckdb.DuckDBPyConnection, table: str, moment: str) -> None:
    """After the first day, rows arrive on their own day or one, two or three days late."""
    arrivals = versions.table(table).filter("version = 0 AND day > '2025-01-01'")
    days_late = arrivals.project(f"day - {moment}::DATE").distinct().fetchall()
    assert {days for (days,) in days_late} == {0, 1, 2, 3}


def test_corrected_lines(versions: duckdb.DuckDBPyConnection) -> None:
    """A line's later version changes its quantity alone, and its order's amounts that day."""
    corrections = versions.execute(
        """
        SELECT
            line.quantity <> before.quantity
            AND (line.order_id, line.product_id, line.unit_price_cents, line.discount_cents)
                = (before.order_id, before.product_id, before.unit_price_cents,
                   before.discount_cents)
            AND after.subtotal_cents - previous.subtotal_cents
                = (line.quantity - before.quantity) * line.unit_price_cents
            AND after.total_cents <> previous.total_cents
        FROM order_items AS line
        JOIN order_items AS before ON before.id = line.id AND before.version = line.version - 1
        JOIN orders AS after ON after.id = line.order_id AND after.day = line.day
        JOIN orders AS previous ON previous.id = after.id AND previous.version = after.version - 1
        """
    ).fetchall()
    assert len(corrections) > 50
    assert set(corrections) == {(True,)}


def test_corrected_page_views(versions: duckdb.DuckDBPyConnection) -> None:
    """A page view's later version changes its duration, of which some were unknown before."""
    corrections = versions.execute(
        """
        SELECT duration_seconds, before FROM (
            SELECT duration_seconds, version, lag(duration_seconds) OVER (
                PARTITION BY session_id, page_url, viewed_at ORDER BY version
            ) AS before
            FROM page_views)
        WHERE version > 0
        """
    ).fetchall()
    assert len(corrections) > 50
    assert all(after is not None and after != before for after, before in corrections)
    assert any(before is None for _, before in corrections)


def test_deleted_customers(versions: duckdb.DuckDBPyConnection) -> None:
    """Customers alone are deleted, for good, and orders that came before still name them."""
    deleted = versions.execute("SELECT DISTINCT table_name FROM deletions").fetchall()
    assert deleted == [("customers",)]
    assert _one(versions, "SELECT count(*) - count(DISTINCT id) FROM deletions") == 0
    later = """
        SELECT count(*) FROM deletions JOIN customers USING (id)
        WHERE customers.day >= deletions.day
    """
    assert _one(versions, later) == 0
    orphans = (
        "SELECT count(DISTINCT orders.id) FROM orders JOIN deletions ON user_id = deletions.id"
    )
    assert _one(versions, orphans) > 10


def test_test_orders(versions: duckdb.DuckDBPyConnection) -> None:
    """Test orders have lines like others."""
    query = """
        SELECT count(DISTINCT orders.id) FROM orders
        JOIN order_items ON order_id = orders.id WHERE status = 'test'
    """
    assert _one(versions, query) > 20


def test_orders_without_lines(versions: duckdb.DuckDBPyConnection) -> None:
    """Some orders have no line and so cost nothing."""
    totals = versions.execute(
        "SELECT total_cents FROM orders WHERE id NOT IN (SELECT order_id FROM order_items)"
    ).fetchall()
    assert len(totals) > 20
    assert set(totals) == {(0,)}


@pytest.mark.parametrize(("column", "table"), [("product_id", "products"), ("order_id", "orders")])
def test_unknown_references(versions: duckdb.DuckDBPyConnection, column: str, table: str) -> None:
    """A few lines, but below one in fifty, name a product or an order that never exists."""
    lines = versions.table("order_items")
    known = versions.table(table).project("id AS known_id").distinct()
    unknown = lines.join(known, f"{column} = known_id", how="anti")
    assert 5 < len(unknown) < len(lines) / 50


@pytest.mark.parametrize(
    "text",
    [
        "李",
        "م",
        "é",
        "🦊",
        "'",
        '"',
        ",",
        "\\",
        "\n",
        "\r\n",
        "\t",
        "\\N",
        "<b>",
        "\u202e",
        "\u0301",
    ],
)
def test_awkward_names(versions: duckdb.DuckDBPyConnection, text: str) -> None:
    """Some customer's name holds this text."""
    found = versions.execute("SELECT id FROM customers WHERE contains(name, ?)", [text])
    assert found.fetchall() != []


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("customers", "name", ""),
        ("customers", "name", None),
        ("customers", "email", ""),
        ("customers", "email", None),
        ("customers", "country", None),
        ("products", "name", ""),
        ("products", "name", None),
        ("products", "category", None),
        ("page_views", "user_id", None),
        ("page_views", "referrer_url", ""),
        ("page_views", "referrer_url", None),
        ("page_views", "duration_seconds", None),
    ],
)
def test_null_and_empty_text(
    versions: duckdb.DuckDBPyConnection, table: str, column: str, value: str | None
) -> None:
    """The column holds NULL, and where it is text, empty text apart from it."""
    wanted = f"{column} IS NULL" if value is None else f"{column} = ''"
    assert len(versions.table(table).filter(wanted)) > 0


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_updates_at_midnight(versions: duckdb.DuckDBPyConnection, table: Table) -> None:
    """In each table, some update happens at exactly the start of its day."""
    at_midnight = versions.table(table.name).filter("updated_at = day::TIMESTAMPTZ")
    assert len(at_midnight) > 0


@pytest.mark.parametrize("table", ["customers", "orders", "order_items"])
def test_updates_in_the_last_microsecond(versions: duckdb.DuckDBPyConnection, table: str) -> None:
    """Some update happens in the last microsecond of its day."""
    last = "updated_at = (day + 1)::TIMESTAMPTZ - INTERVAL 1 MICROSECOND"
    assert len(versions.table(table).filter(last)) > 0
