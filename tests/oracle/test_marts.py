"""The oracle's marts, with every expected value calculated by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from pipeline_verification.conformance.scripted_dataset import Row, changes
from pipeline_verification.oracle import marts
from pipeline_verification.oracle.source_state import Frames, frame

MORNING = datetime(2025, 1, 2, 9, 30, tzinfo=UTC)
EVENING = datetime(2025, 1, 2, 23, 59, 59, 999_999, tzinfo=UTC)
NEXT_DAY = datetime(2025, 1, 3, tzinfo=UTC)


def raw(**tables: list[Row]) -> Frames:
    """Loaded rows; a row that leaves out ``updated_at`` has that of the morning."""
    names = ("customers", "products", "orders", "order_items", "page_views")
    return {
        name: frame(
            changes(name, *({"updated_at": MORNING, **row} for row in tables.get(name, []))).upserts
        )
        for name in names
    }


def row(table: pa.Table) -> dict[str, Any]:
    (only,) = table.to_pylist()
    values: dict[str, Any] = only
    return values


def revenue(*lines: Row, tax_rate_bp: int = 0) -> Decimal:
    """The revenue of one order with these lines."""
    tables = raw(
        orders=[{"id": 1, "status": "shipped", "tax_rate_bp": tax_rate_bp}],
        order_items=[{"id": n, "order_id": 1, **line} for n, line in enumerate(lines)],
    )
    amount: Decimal = row(marts.daily_revenue_by_category(tables))["revenue"]
    return amount


def test_order() -> None:
    """An order's money is its cents as dollars, its tax the total less the subtotal."""
    tables = raw(
        orders=[
            {
                "id": 5,
                "user_id": 8,
                "status": "cancelled",
                "subtotal_cents": 10_001,
                "total_cents": 10_826,
                "tax_rate_bp": 825,
                "created_at": EVENING,
                "updated_at": NEXT_DAY,
            }
        ],
        order_items=[{"id": 1, "order_id": 5}, {"id": 2, "order_id": 5}, {"id": 3, "order_id": 6}],
    )
    assert row(marts.fct_orders(tables)) == {
        "order_id": 5,
        "customer_id": 8,
        "status": "cancelled",
        "ordered_at": EVENING,
        "order_date": date(2025, 1, 2),
        "subtotal": Decimal("100.01"),
        "tax": Decimal("8.25"),
        "total": Decimal("108.26"),
        "item_count": 2,
        "updated_at": NEXT_DAY,
    }


def test_order_without_lines() -> None:
    """An order without lines counts 0 of them."""
    assert row(marts.fct_orders(raw(orders=[{"id": 1, "status": "pending"}])))["item_count"] == 0


def test_test_order_is_no_order() -> None:
    """An order of status test is in no mart, and its customer has no order by it."""
    tables = raw(
        customers=[{"id": 1}],
        orders=[{"id": 1, "user_id": 1, "status": "test", "total_cents": 500}],
        order_items=[{"id": 1, "order_id": 1, "quantity": 1, "unit_price_cents": 500}],
    )
    customer = row(marts.dim_customers(tables["customers"], tables))
    assert marts.fct_orders(tables).num_rows == 0
    assert marts.daily_revenue_by_category(tables).num_rows == 0
    assert (customer["order_count"], customer["first_order_at"]) == (0, None)


def test_cancelled_order_brings_no_revenue() -> None:
    """A cancelled order is an order, but brings neither revenue nor lifetime value."""
    tables = raw(
        customers=[{"id": 1}],
        orders=[{"id": 1, "user_id": 1, "status": "cancelled", "total_cents": 500}],
        order_items=[{"id": 1, "order_id": 1, "quantity": 1, "unit_price_cents": 500}],
    )
    customer = row(marts.dim_customers(tables["customers"], tables))
    assert marts.fct_orders(tables).num_rows == 1
    assert marts.daily_revenue_by_category(tables).num_rows == 0
    assert (customer["order_count"], customer["lifetime_value"]) == (1, Decimal("0.00"))


def test_revenue_by_day_and_category() -> None:
    """Lines add up by their order's UTC day and their product's category; orders count once."""
    tables = raw(
        products=[{"id": 1, "category": "books"}, {"id": 2, "category": "games"}],
        orders=[
            {"id": 1, "status": "pending", "tax_rate_bp": 1_000, "created_at": EVENING},
            {"id": 2, "status": "shipped", "tax_rate_bp": 0, "created_at": MORNING},
            {"id": 3, "status": "delivered", "tax_rate_bp": 0, "created_at": NEXT_DAY},
        ],
        order_items=[
            line(1, order=1, product=1, quantity=2, price=500, discount=100),
            line(2, order=1, product=1, quantity=1, price=100),
            line(3, order=1, product=2, quantity=3, price=10),
            line(4, order=2, product=1, quantity=1, price=250),
            line(5, order=3, product=1, quantity=1, price=7),
        ],
    )
    rows = marts.daily_revenue_by_category(tables).sort_by(
        [("order_date", "ascending"), ("category", "ascending")]
    )
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        (date(2025, 1, 2), "books", Decimal("13.50"), 2, 4),  # (900 + 100) x 1.1 + 250 cents
        (date(2025, 1, 2), "games", Decimal("0.33"), 1, 3),
        (date(2025, 1, 3), "books", Decimal("0.07"), 1, 1),
    ]


def line(
    number: int, *, order: int, product: int, quantity: int, price: int, discount: int = 0
) -> Row:
    return {
        "id": number,
        "order_id": order,
        "product_id": product,
        "quantity": quantity,
        "unit_price_cents": price,
        "discount_cents": discount,
    }


def test_unknown_product_and_missing_category() -> None:
    """A line of an unknown product and one of a product without category are both unknown."""
    tables = raw(
        products=[{"id": 1, "category": None}, {"id": 2, "category": ""}],
        orders=[{"id": 1, "status": "shipped"}],
        order_items=[
            line(1, order=1, product=1, quantity=1, price=100),
            line(2, order=1, product=2, quantity=1, price=30),
            line(3, order=1, product=9, quantity=1, price=5),
        ],
    )
    rows = marts.daily_revenue_by_category(tables).to_pylist()
    assert {row["category"]: row["revenue"] for row in rows} == {
        "unknown": Decimal("1.05"),
        "": Decimal("0.30"),
    }


def test_line_of_unknown_order_counts_nowhere() -> None:
    """A line whose order is unknown brings no revenue."""
    tables = raw(order_items=[line(1, order=4, product=1, quantity=1, price=100)])
    assert marts.daily_revenue_by_category(tables).num_rows == 0


@pytest.mark.parametrize(
    ("price", "tax_rate_bp", "expected"),
    [
        (1, 4_999, "0.01"),  # 1.4999 cents
        (1, 5_000, "0.02"),  # 1.5 cents
        (-1, 5_000, "-0.02"),
        (-1, 4_999, "-0.01"),
        (5, 1_000, "0.06"),  # 5.5 cents, which rounds to 6 and not to the even 5 or 6 by chance
        (25, 1_000, "0.28"),  # 27.5 cents
        (45, 1_000, "0.50"),  # 49.5 cents, whose even neighbour is 50
        (65, 1_000, "0.72"),  # 71.5 cents, whose even neighbour is 72
        (0, 5_000, "0.00"),
    ],
)
def test_revenue_rounds_half_away_from_zero(price: int, tax_rate_bp: int, expected: str) -> None:
    """Half a cent rounds away from zero, on either side of it."""
    line = {"quantity": 1, "unit_price_cents": price}
    assert revenue(line, tax_rate_bp=tax_rate_bp) == Decimal(expected)


def test_revenue_rounds_once() -> None:
    """Parts of a cent are added up before they are rounded: three times 0.4 cents are 1 cent."""
    thirds = [{"quantity": 1, "unit_price_cents": 1, "discount_cents": 0}] * 3
    assert revenue(*thirds, tax_rate_bp=-6_000) == Decimal("0.01")


def test_revenue_beyond_64_bits() -> None:
    """Sums of more than 64 bits stay exact until they are dollars."""
    big = {"quantity": 30_000, "unit_price_cents": 200_000_000_001}
    assert revenue(big, big, tax_rate_bp=825) == Decimal("129900000000649.50")


def test_customer() -> None:
    """A customer's orders count whatever their status but test; their value only where sold."""
    tables = raw(
        customers=[{"id": 1, "email": "", "name": None, "country": "PT"}],
        orders=[
            {"id": 1, "user_id": 1, "status": "pending", "total_cents": 1, "created_at": EVENING},
            {"id": 2, "user_id": 1, "status": "cancelled", "total_cents": 20},
            {"id": 3, "user_id": 1, "status": "delivered", "total_cents": 300},
            {"id": 4, "user_id": 1, "status": "test", "created_at": NEXT_DAY},
            {"id": 5, "user_id": 2, "status": "pending", "total_cents": 4_000},
        ],
    )
    assert row(marts.dim_customers(tables["customers"], tables)) == {
        "customer_id": 1,
        "email": "",
        "name": None,
        "country": "PT",
        "first_order_at": MORNING,
        "last_order_at": EVENING,
        "order_count": 3,
        "lifetime_value": Decimal("3.01"),
    }


def test_product() -> None:
    """A product's price is its cents as dollars; no category is unknown, an empty one stays."""
    tables = raw(
        products=[
            {"id": 1, "sku": "a", "name": "Ångström", "category": None, "price_cents": 1_999},
            {"id": 2, "sku": "b", "name": None, "category": "", "price_cents": 5},
        ]
    )
    assert [tuple(row.values()) for row in marts.dim_products(tables).to_pylist()] == [
        (1, "a", "Ångström", "unknown", Decimal("19.99")),
        (2, "b", None, "", Decimal("0.05")),
    ]


def test_every_mart_of_no_rows() -> None:
    """Without any row every mart is empty and still has its columns and types."""
    none = raw()
    assert marts.fct_orders(none).schema == marts.FCT_ORDERS
    assert marts.fct_page_views(none).schema == marts.FCT_PAGE_VIEWS
    assert marts.dim_products(none).schema == marts.DIM_PRODUCTS
    assert marts.dim_customers(none["customers"], none).schema == marts.DIM_CUSTOMERS
    revenue_by_day = marts.daily_revenue_by_category(none)
    assert revenue_by_day.schema == marts.DAILY_REVENUE_BY_CATEGORY
    assert revenue_by_day.num_rows == 0
