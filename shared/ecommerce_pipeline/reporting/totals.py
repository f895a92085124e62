"""The shop's totals, exact, from the published marts."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

import duckdb

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals over all the data that was published; money in dollars.

    Attributes:
        revenue: the sum of ``daily_revenue_by_category``.
        orders: the orders of ``fct_orders``, cancelled ones among them.
        cancelled_orders: those that count for no revenue.
        customers: the customers of ``dim_customers``.
        buyers: those who have ordered.
    """

    revenue: Decimal
    orders: int
    cancelled_orders: int
    customers: int
    buyers: int

    @property
    def average_order(self) -> Decimal | None:
        """Revenue / orders that are not cancelled, in cents half up; None without such orders."""
        counted = self.orders - self.cancelled_orders
        return (self.revenue / counted).quantize(CENT, ROUND_HALF_UP) if counted else None


def read(connection: duckdb.DuckDBPyConnection) -> Totals:
    """Compute the totals from the schema ``marts``."""
    [(revenue, orders, cancelled, customers, buyers)] = connection.execute(
        """
        SELECT
            (SELECT coalesce(sum(revenue), 0.00) FROM marts.daily_revenue_by_category),
            (SELECT count(*) FROM marts.fct_orders),
            (SELECT count(*) FROM marts.fct_orders WHERE status = 'cancelled'),
            (SELECT count(*) FROM marts.dim_customers),
            (SELECT count(*) FROM marts.dim_customers WHERE order_count > 0)
        """
    ).fetchall()
    return Totals(revenue, orders, cancelled, customers, buyers)
