"""What the dashboard shows, read from the published copy; money stays DECIMAL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TypeAlias

from ecommerce_pipeline.contract import ORDER_STATUSES
from ecommerce_pipeline.reporting import totals
from ecommerce_pipeline.reporting.totals import Totals
from ecommerce_pipeline.storage.published import Manifest, PublishedCopy, qualified

TOP_CUSTOMERS = 10

Day: TypeAlias = date | str
"""A UTC day; as DuckDB's text where Python has no such date: 20250-01-01, 0044-03-15 (BC)."""


@dataclass(frozen=True, slots=True)
class Customer:
    """One of the best customers; ``name`` and ``country`` are as the source has them."""

    customer_id: int
    name: str | None
    country: str | None
    orders: int
    last_order: Day
    lifetime_value: Decimal


@dataclass(frozen=True, slots=True)
class DashboardData:
    """Everything on the page that comes from the published copy.

    Attributes:
        manifest: what was published.
        totals: the totals.
        revenue_by_day: dollars by UTC day of the order, in order; days without revenue are missing.
        revenue_by_category: dollars, the largest first.
        orders_by_status: orders in the order of their life, statuses without orders left out.
        top_customers: by lifetime value, at most ``TOP_CUSTOMERS``.
        newest_update: the newest ``updated_at`` of any published table, UTC; None without rows.
    """

    manifest: Manifest
    totals: Totals
    revenue_by_day: Mapping[Day, Decimal]
    revenue_by_category: Sequence[tuple[str, Decimal]]
    orders_by_status: Sequence[tuple[str, int]]
    top_customers: Sequence[Customer]
    newest_update: datetime | None


def read(copy: PublishedCopy) -> DashboardData:
    """Read the page's content."""
    by_day = copy.connection.execute(
        "SELECT order_date::VARCHAR, sum(revenue) FROM marts.daily_revenue_by_category"
        " GROUP BY order_date ORDER BY order_date"
    ).fetchall()
    by_category = copy.connection.execute(
        "SELECT category, sum(revenue) AS revenue FROM marts.daily_revenue_by_category"
        " GROUP BY ALL ORDER BY revenue DESC, category"
    ).fetchall()
    return DashboardData(
        manifest=copy.manifest,
        totals=totals.read(copy.connection),
        revenue_by_day={_day(text): revenue for text, revenue in by_day},
        revenue_by_category=by_category,
        orders_by_status=_orders_by_status(copy),
        top_customers=_top_customers(copy),
        newest_update=_newest_update(copy),
    )


def _orders_by_status(copy: PublishedCopy) -> list[tuple[str, int]]:
    counts = copy.connection.execute(
        "SELECT status, count(*) FROM marts.fct_orders GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    known = {status: place for place, status in enumerate(ORDER_STATUSES)}
    return sorted(counts, key=lambda row: known.get(row[0], len(known)))


def _top_customers(copy: PublishedCopy) -> list[Customer]:
    rows = copy.connection.execute(
        "SELECT customer_id, name, country, order_count, last_order_at::DATE::VARCHAR,"
        " lifetime_value"
        " FROM marts.dim_customers WHERE order_count > 0"
        " ORDER BY lifetime_value DESC, customer_id LIMIT ?",
        [TOP_CUSTOMERS],
    ).fetchall()
    return [
        Customer(number, name, country, orders, _day(last_order), value)
        for number, name, country, orders, last_order, value in rows
    ]


def _day(text: str) -> Day:
    # DuckDB's driver returns infinity as the year 9999, but its text as it is.
    try:
        return date.fromisoformat(text)
    except ValueError:
        return text


def _newest_update(copy: PublishedCopy) -> datetime | None:
    newest = [
        copy.connection.execute(
            f"SELECT max(updated_at) FROM {qualified(*name.split('.', 1))}"
        ).fetchall()[0][0]
        for name, table in copy.manifest.tables.items()
        if "updated_at" in table.columns
    ]
    return max((moment for moment in newest if moment is not None), default=None)
