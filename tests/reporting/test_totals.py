"""The shop's totals."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ecommerce_pipeline.reporting.totals import Totals


@pytest.mark.parametrize(
    ("revenue", "orders", "average"),
    [
        ("0.05", 2, "0.03"),  # 0.025: half to even would give 0.02
        ("0.15", 2, "0.08"),  # 0.075
        ("-0.05", 2, "-0.03"),
        ("10.00", 3, "3.33"),
        ("20.00", 3, "6.67"),
    ],
)
def test_the_average_order_rounds_half_away_from_zero(
    revenue: str, orders: int, average: str
) -> None:
    """Half a cent is rounded away from zero, as all money of the pipeline is."""
    totals = Totals(Decimal(revenue), orders, cancelled_orders=0, customers=1, buyers=1)
    assert totals.average_order == Decimal(average)


def test_cancelled_orders_do_not_count_in_the_average() -> None:
    """The average is over the orders that are not cancelled; without such orders there is none."""
    totals = Totals(Decimal("9.00"), orders=5, cancelled_orders=2, customers=1, buyers=1)
    assert totals.average_order == Decimal("3.00")
    assert Totals(Decimal(0), 2, cancelled_orders=2, customers=0, buyers=0).average_order is None
