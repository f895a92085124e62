"""A warehouse of a few rows made by hand, for the steps that begin where dbt ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.publish import publish
from ecommerce_pipeline.storage import journal

Rows = Sequence[tuple[Any, ...]]

INTERVAL = DataInterval.for_day(date(2025, 1, 3))
NASTY_NAME = 'Zoë "Z" O\'Neil <script>alert(1)</script> &amp; {{ 7*7 }}\n🚀 \u202edesrever'

_COLUMNS = {
    "raw.loaded_intervals": "table_name VARCHAR, interval_start TIMESTAMPTZ,"
    " interval_end TIMESTAMPTZ, row_count BIGINT",
    "marts.fct_orders": "order_id BIGINT, customer_id BIGINT, status VARCHAR,"
    " ordered_at TIMESTAMPTZ, order_date DATE, subtotal DECIMAL(14,2), tax DECIMAL(14,2),"
    " total DECIMAL(14,2), item_count BIGINT, updated_at TIMESTAMPTZ",
    "marts.daily_revenue_by_category": "order_date DATE, category VARCHAR,"
    " revenue DECIMAL(18,2), order_count BIGINT, units BIGINT",
    "marts.fct_page_views": "page_view_id VARCHAR, session_id VARCHAR, user_id BIGINT,"
    " page_url VARCHAR, referrer_url VARCHAR, duration_seconds BIGINT, viewed_at TIMESTAMPTZ",
    "marts.dim_customers": "customer_id BIGINT, email VARCHAR, name VARCHAR, country VARCHAR,"
    " first_order_at TIMESTAMPTZ, last_order_at TIMESTAMPTZ, order_count BIGINT,"
    " lifetime_value DECIMAL(18,2)",
    "marts.dim_products": "product_id BIGINT, sku VARCHAR, name VARCHAR, category VARCHAR,"
    " price DECIMAL(14,2)",
    "snapshots.snap_customers": "id BIGINT, email VARCHAR, name VARCHAR, country VARCHAR,"
    " updated_at TIMESTAMPTZ, dbt_valid_from TIMESTAMPTZ, dbt_valid_to TIMESTAMPTZ",
}


def moment(day: int, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """A time in January 2025, UTC."""
    return datetime(2025, 1, day, hour, minute, second, tzinfo=UTC)


def order(number: int, buyer: int, status: str, ordered: datetime, total: str) -> tuple[Any, ...]:
    """A row of ``fct_orders`` with one line and 25 cents of tax."""
    amount, tax = Decimal(total), Decimal("0.25")
    day = ordered.date()
    return (number, buyer, status, ordered, day, amount - tax, tax, amount, 1, ordered)


def customer(
    number: int, name: str | None, country: str | None, orders: int, value: str
) -> tuple[Any, ...]:
    """A row of ``dim_customers`` who ordered from the 1st to the 3rd of January, or never."""
    first, last = (moment(1, 9), moment(3, 22)) if orders else (None, None)
    return (number, f"{number}@x.example", name, country, first, last, orders, Decimal(value))


ROWS: Mapping[str, Rows] = {
    "marts.fct_orders": [
        order(1, 1, "delivered", moment(1, 9), "1200.10"),
        order(2, 2, "shipped", moment(1, 12), "34.05"),
        order(3, 1, "cancelled", moment(2, 8), "999.99"),
        order(4, 1, "pending", moment(3, 22, 14, 30), "0.30"),
    ],
    "marts.daily_revenue_by_category": [
        (date(2025, 1, 1), "Garden & <b>Home</b>", Decimal("1200.10"), 1, 4),
        (date(2025, 1, 1), "unknown", Decimal("34.05"), 1, 1),
        (date(2025, 1, 3), "Garden & <b>Home</b>", Decimal("0.30"), 1, 3),
    ],
    "marts.fct_page_views": [
        ("a" * 32, "s-1", None, "/", None, None, moment(1, 8, 59, 59)),
        ("b" * 32, "s-1", 1, "/basket?a=1&b=2", "", 0, moment(3, 22)),
    ],
    "marts.dim_customers": [
        customer(1, NASTY_NAME, "GB", 3, "1200.40"),
        customer(2, None, None, 1, "34.05"),
        customer(3, "No orders yet", "FR", 0, "0.00"),
    ],
    "marts.dim_products": [(1, "SKU-1", "Spade", "Garden & <b>Home</b>", Decimal("300.03"))],
    "snapshots.snap_customers": [
        (1, "old@x.example", "Zoe", "GB", moment(1, 1), moment(1, 1), moment(2, 1)),
        (1, "1@x.example", NASTY_NAME, "GB", moment(2, 1), moment(2, 1), None),
    ],
}
"""What each table holds: four orders of three customers, one of them cancelled."""


def create(
    path: Path, rows: Mapping[str, Rows] = ROWS, *, intervals: Sequence[DataInterval] = (INTERVAL,)
) -> None:
    """Make or replace the warehouse's tables; a table that ``rows`` does not name is empty.

    Args:
        path: the DuckDB file.
        rows: by ``schema.table``.
        intervals: what the raw schema says was loaded, in this order.
    """
    loaded = [("orders", interval.start, interval.end, 4) for interval in intervals]
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(path) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.begin()
        for table, columns in _COLUMNS.items():
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {table.split('.')[0]}")
            connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")
            for row in {**rows, "raw.loaded_intervals": loaded}.get(table, []):
                places = ", ".join("?" * len(row))
                connection.execute(f"INSERT INTO {table} VALUES ({places})", row)
        connection.commit()


def publish_sample(folder: Path) -> Path:
    """Make the warehouse in a run's folder, publish it, and note three steps; the folder."""
    run = RunDirectory(folder)
    create(run.warehouse)
    publish(StepContext(run, INTERVAL, "sqlite://"))
    start = moment(4, 1)
    for step, begin, end in (
        ("check_source_freshness", 0, 0.25),
        ("dbt_run_marts", 1, 4.5),
        ("publish", 5, 65),
    ):
        journal.append(
            run,
            journal.JournalEntry(
                interval=str(INTERVAL),
                step=step,
                started_at=start + timedelta(seconds=begin),
                ended_at=start + timedelta(seconds=end),
                outcome="success",
            ),
        )
    return run.path
