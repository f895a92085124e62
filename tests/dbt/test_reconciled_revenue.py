"""The validation's own computation of daily revenue agrees with the mart where rounding matters."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.steps import validate
from ecommerce_pipeline.storage.raw import create_present_views
from support.raw_warehouse import NOON, Shop


def sell(shop: Shop, *, status: str, cents: int, rate: int, created_at: datetime = NOON) -> None:
    """Load one order of one line, and build the marts."""
    order = {"id": 1, "user_id": 1, "status": status, "tax_rate_bp": rate}
    shop.load("orders", {**order, "created_at": created_at})
    line = {"id": 1, "order_id": 1, "product_id": 1, "quantity": 1, "unit_price_cents": cents}
    shop.load("order_items", line)
    shop.loaded()
    shop.build()


def check(shop: Shop) -> None:
    """Compare the mart with the validation's computation."""
    with duckdb.connect(shop.run.warehouse) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        create_present_views(connection)
        validate._check_daily_revenue(connection)


@pytest.mark.parametrize(("cents", "revenue"), [(1, "0.02"), (-1, "-0.02"), (3, "0.05")])
def test_half_a_cent_is_rounded_away_from_zero_on_both_sides(
    shop: Shop, cents: int, revenue: str
) -> None:
    """With 50 % tax an odd number of cents ends in half a cent, and both computations agree."""
    sell(shop, status="shipped", cents=cents, rate=5000)
    assert shop.query("SELECT revenue::VARCHAR FROM marts.daily_revenue_by_category") == [
        (revenue,)
    ]
    check(shop)


@pytest.mark.parametrize("status", ["cancelled", "test"])
def test_orders_without_revenue_count_on_neither_side(shop: Shop, status: str) -> None:
    """A cancelled order and a test order are in neither the mart nor the validation's sum."""
    sell(shop, status=status, cents=100, rate=0)
    assert shop.query("SELECT count(*) FROM marts.daily_revenue_by_category") == [(0,)]
    check(shop)


def test_a_cent_too_much_is_found(shop: Shop) -> None:
    """A mart that differs by one cent fails, with both numbers."""
    sell(shop, status="shipped", cents=100, rate=0)
    shop.execute("UPDATE marts.daily_revenue_by_category SET revenue = revenue + 0.01")
    with pytest.raises(PipelineError, match="expected 100, found 101"):
        check(shop)


@pytest.mark.parametrize("moment", [timedelta(0), timedelta(days=1, microseconds=-1)])
def test_revenue_belongs_to_the_utc_day_of_the_order(shop: Shop, moment: timedelta) -> None:
    """The first and the last moment of a UTC day count for that day on both sides."""
    midnight = datetime(2025, 1, 1, tzinfo=UTC)
    sell(shop, status="shipped", cents=100, rate=0, created_at=midnight + moment)
    dates = shop.query("SELECT order_date FROM marts.daily_revenue_by_category")
    assert dates == [(date(2025, 1, 1),)]
    check(shop)
