"""What each mart holds, value for value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from shutil import copyfile

import pytest

from ecommerce_pipeline.run_directory import RunDirectory
from support.raw_warehouse import NOON, Row, Shop

MORNING = datetime(2025, 1, 1, 8, tzinfo=UTC)
NIGHT = datetime(2025, 1, 1, 23, 59, 59, 999_999, tzinfo=UTC)
DAY = date(2025, 1, 1)


@pytest.fixture(scope="module")
def sold(
    dbt_run: RunDirectory, staged_warehouse: Path, tmp_path_factory: pytest.TempPathFactory
) -> Shop:
    """Two customers with orders of every kind, a deleted one, and one who never ordered."""
    copyfile(staged_warehouse, dbt_run.warehouse)
    shop = Shop(dbt_run)
    shop.load(
        "customers",
        {"id": 1, "email": "ada@example.com", "name": "Ada", "country": "GB"},
        {"id": 2, "name": ""},
        {"id": 3, "name": "gone"},
    )
    shop.load(
        "products",
        {"id": 1, "sku": "A", "name": "Ant", "category": "toys", "price_cents": 199},
        {"id": 2, "sku": "B", "price_cents": 0},
    )
    shop.load(
        "orders",
        order(1, 1, "delivered", 1000, 1083, created_at=MORNING),
        order(2, 1, "cancelled", 500, 541, created_at=NIGHT),
        order(3, 1, "test", 700, 758),
        order(4, 3, "pending", -100, -108),
    )
    shop.load(
        "order_items",
        line(1, 1, product=1, quantity=3, price=199, discount=97),
        line(2, 1, product=2, quantity=1, price=100),
        line(3, 1, product=9, quantity=-1, price=50),
        line(4, 2, product=1, quantity=1, price=500),
        line(5, 3, product=1, quantity=1, price=700),
        line(6, 9, product=1, quantity=1, price=900),
    )
    shop.load("page_views", {"session_id": "é☕", "page_url": "/", "viewed_at": NIGHT})
    shop.loaded(customers=(1, 2))
    shop.build()
    copy = Shop(RunDirectory(tmp_path_factory.mktemp("sold")))
    copyfile(shop.run.warehouse, copy.run.warehouse)
    return copy


def order(
    number: int, customer: int, status: str, subtotal: int, total: int, **more: object
) -> Row:
    return {
        "id": number,
        "user_id": customer,
        "status": status,
        "subtotal_cents": subtotal,
        "tax_rate_bp": 825,
        "total_cents": total,
        "created_at": NOON,
        **more,
    }


def line(
    number: int, order_id: int, *, product: int, quantity: int, price: int, discount: int = 0
) -> Row:
    return {
        "id": number,
        "order_id": order_id,
        "product_id": product,
        "quantity": quantity,
        "unit_price_cents": price,
        "discount_cents": discount,
    }


def dollars(*amounts: str) -> tuple[Decimal, ...]:
    return tuple(map(Decimal, amounts))


def test_orders_are_in_dollars_with_tax_and_lines(sold: Shop) -> None:
    """fct_orders holds every order but the test ones, in dollars, with tax and item count."""
    assert sold.query("FROM marts.fct_orders ORDER BY order_id") == [
        (1, 1, "delivered", MORNING, DAY, *dollars("10.00", "0.83", "10.83"), 3, NOON),
        (2, 1, "cancelled", NIGHT, DAY, *dollars("5.00", "0.41", "5.41"), 1, NOON),
        (4, 3, "pending", NOON, DAY, *dollars("-1.00", "-0.08", "-1.08"), 0, NOON),
    ]


def test_revenue_is_by_day_and_category(sold: Shop) -> None:
    """daily_revenue_by_category holds the exact revenue of lines neither test nor cancelled."""
    assert sold.query("FROM marts.daily_revenue_by_category ORDER BY category") == [
        (DAY, "toys", Decimal("5.41"), 1, 3),  # (3*199 - 97) * 1.0825 = 541.25 cents
        (DAY, "unknown", Decimal("0.54"), 1, 0),  # (100 - 50) * 1.0825 = 54.125 cents
    ]


def test_customers_are_the_present_ones(sold: Shop) -> None:
    """dim_customers has the customers that the source has, with the value of their orders."""
    assert sold.query("FROM marts.dim_customers ORDER BY customer_id") == [
        (1, "ada@example.com", "Ada", "GB", MORNING, NIGHT, 2, Decimal("10.83")),
        (2, None, "", None, None, None, 0, Decimal("0.00")),
    ]


def test_products_without_category_are_unknown(sold: Shop) -> None:
    """dim_products holds every product with its price in dollars."""
    assert sold.query("FROM marts.dim_products ORDER BY product_id") == [
        (1, "A", "Ant", "toys", Decimal("1.99")),
        (2, "B", None, "unknown", Decimal("0.00")),
    ]


def test_the_key_of_a_page_view_is_documented(sold: Shop) -> None:
    """page_view_id is the MD5 of the key's parts, each behind its length in characters."""
    text = "2:é☕" + "1:/" + "26:2025-01-01 23:59:59.999999"
    assert sold.query("FROM marts.fct_page_views") == [
        (sold.query(f"SELECT md5('{text}')")[0][0], "é☕", None, "/", None, None, NIGHT)
    ]


def test_marts_have_exact_types(sold: Shop) -> None:
    """No mart and no snapshot has a floating or zoneless column."""
    types = sold.query(
        """
        SELECT table_name, string_agg(column_name || ' ' || data_type, ', ' ORDER BY column_index)
        FROM duckdb_columns() WHERE schema_name IN ('marts', 'snapshots')
        GROUP BY table_name ORDER BY table_name
        """
    )
    assert types == [
        (
            "daily_revenue_by_category",
            "order_date DATE, category VARCHAR, revenue DECIMAL(18,2), order_count BIGINT,"
            " units BIGINT",
        ),
        (
            "dim_customers",
            "customer_id BIGINT, email VARCHAR, name VARCHAR, country VARCHAR,"
            " first_order_at TIMESTAMP WITH TIME ZONE, last_order_at TIMESTAMP WITH TIME ZONE,"
            " order_count BIGINT, lifetime_value DECIMAL(18,2)",
        ),
        (
            "dim_products",
            "product_id BIGINT, sku VARCHAR, name VARCHAR, category VARCHAR, price DECIMAL(14,2)",
        ),
        (
            "fct_orders",
            "order_id BIGINT, customer_id BIGINT, status VARCHAR,"
            " ordered_at TIMESTAMP WITH TIME ZONE, order_date DATE, subtotal DECIMAL(14,2),"
            " tax DECIMAL(14,2), total DECIMAL(14,2), item_count BIGINT,"
            " updated_at TIMESTAMP WITH TIME ZONE",
        ),
        (
            "fct_page_views",
            "page_view_id VARCHAR, session_id VARCHAR, user_id BIGINT, page_url VARCHAR,"
            " referrer_url VARCHAR, duration_seconds BIGINT,"
            " viewed_at TIMESTAMP WITH TIME ZONE",
        ),
        (
            "snap_customers",
            "customer_id BIGINT, email VARCHAR, name VARCHAR, country VARCHAR,"
            " created_at TIMESTAMP WITH TIME ZONE, updated_at TIMESTAMP WITH TIME ZONE,"
            " dbt_scd_id VARCHAR, dbt_updated_at TIMESTAMP WITH TIME ZONE,"
            " dbt_valid_from TIMESTAMP WITH TIME ZONE, dbt_valid_to TIMESTAMP WITH TIME ZONE",
        ),
    ]


def test_the_session_time_zone_does_not_matter(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """An order's date is its day in UTC, wherever the pipeline runs."""
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    shop.load("orders", order(1, 1, "shipped", 0, 0, created_at=NIGHT))
    shop.loaded()
    shop.build()
    assert shop.query("SELECT order_date FROM marts.fct_orders") == [(DAY,)]
