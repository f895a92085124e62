"""Every mart, computed from the loaded rows by its definition, in exact integers.

Money is summed in Python's integers, which cannot overflow, and converted to dollars at the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray

from pipeline_verification.oracle.keys import page_view_id
from pipeline_verification.oracle.source_state import Frames

UNKNOWN = "unknown"
NOT_SOLD = ("test", "cancelled")

_TIME = pa.timestamp("us", tz="UTC")
_MONEY = pa.decimal128(14, 2)
_MONEY_SUM = pa.decimal128(18, 2)

FCT_ORDERS = pa.schema(
    {
        "order_id": pa.int64(),
        "customer_id": pa.int64(),
        "status": pa.string(),
        "ordered_at": _TIME,
        "order_date": pa.date32(),
        "subtotal": _MONEY,
        "tax": _MONEY,
        "total": _MONEY,
        "item_count": pa.int64(),
        "updated_at": _TIME,
    }
)
DAILY_REVENUE_BY_CATEGORY = pa.schema(
    {
        "order_date": pa.date32(),
        "category": pa.string(),
        "revenue": _MONEY_SUM,
        "order_count": pa.int64(),
        "units": pa.int64(),
    }
)
FCT_PAGE_VIEWS = pa.schema(
    {
        "page_view_id": pa.string(),
        "session_id": pa.string(),
        "user_id": pa.int64(),
        "page_url": pa.string(),
        "referrer_url": pa.string(),
        "duration_seconds": pa.int64(),
        "viewed_at": _TIME,
    }
)
DIM_CUSTOMERS = pa.schema(
    {
        "customer_id": pa.int64(),
        "email": pa.string(),
        "name": pa.string(),
        "country": pa.string(),
        "first_order_at": _TIME,
        "last_order_at": _TIME,
        "order_count": pa.int64(),
        "lifetime_value": _MONEY_SUM,
    }
)
DIM_PRODUCTS = pa.schema(
    {
        "product_id": pa.int64(),
        "sku": pa.string(),
        "name": pa.string(),
        "category": pa.string(),
        "price": _MONEY,
    }
)


def fct_orders(raw: Frames) -> pa.Table:
    """One row per order that is no test."""
    lines = _count(raw["order_items"], "order_id").rename("item_count")
    orders = _orders(raw).merge(lines, how="left", left_on="id", right_index=True)
    orders = orders.rename(
        columns={"id": "order_id", "user_id": "customer_id", "created_at": "ordered_at"}
    ).assign(
        order_date=orders["created_at"].dt.date,
        subtotal=_dollars(orders["subtotal_cents"]),
        tax=_dollars(orders["total_cents"] - orders["subtotal_cents"]),
        total=_dollars(orders["total_cents"]),
        item_count=orders["item_count"].fillna(0),
    )
    return _table(orders, FCT_ORDERS)


def daily_revenue_by_category(raw: Frames) -> pa.Table:
    """One row per order date and category, over the lines of orders neither test nor cancelled."""
    orders = _sold_orders(raw)[["id", "created_at", "tax_rate_bp"]]
    products = raw["products"][["id", "category"]]
    lines = (
        raw["order_items"]
        .merge(orders.rename(columns={"id": "order_id"}), on="order_id")
        .merge(products.rename(columns={"id": "product_id"}), how="left", on="product_id")
    )
    net_cents = _exact(lines["quantity"]) * _exact(lines["unit_price_cents"])
    net_cents -= _exact(lines["discount_cents"])
    groups = lines.assign(
        order_date=lines["created_at"].dt.date,
        category=lines["category"].fillna(UNKNOWN),
        gross=net_cents * (10_000 + _exact(lines["tax_rate_bp"])),
        units=_exact(lines["quantity"]),
    ).groupby(["order_date", "category"])
    # `gross` is in cents times 10,000; rounding once per group, not per line, is the definition.
    days = groups.agg({"gross": "sum", "order_id": "nunique", "units": "sum"}).reset_index()
    days["revenue"] = _dollars(map(_rounded_cents, days["gross"]))
    return _table(days.rename(columns={"order_id": "order_count"}), DAILY_REVENUE_BY_CATEGORY)


def fct_page_views(raw: Frames) -> pa.Table:
    """One row per session, page and moment."""
    views = raw["page_views"]
    keys = zip(views["session_id"], views["page_url"], views["viewed_at"], strict=True)
    return _table(views.assign(page_view_id=[page_view_id(*key) for key in keys]), FCT_PAGE_VIEWS)


def dim_customers(customers: pd.DataFrame, raw: Frames) -> pa.Table:
    """One row per given customer, with the first, last and number of the orders and their value."""
    orders, sold = _orders(raw), _sold_orders(raw)
    ordered_at = orders.groupby("user_id")["created_at"]
    by_customer = {
        "first_order_at": ordered_at.min(),
        "last_order_at": ordered_at.max(),
        "order_count": _count(orders, "user_id"),
        "cents": _exact(sold["total_cents"]).groupby(sold["user_id"]).sum(),
    }
    rows = customers.rename(columns={"id": "customer_id"})
    for name, values in by_customer.items():
        rows = rows.merge(values.rename(name), how="left", left_on="customer_id", right_index=True)
    rows["order_count"] = rows["order_count"].fillna(0)
    rows["lifetime_value"] = _dollars(rows["cents"].fillna(0))
    return _table(rows, DIM_CUSTOMERS)


def dim_products(raw: Frames) -> pa.Table:
    """One row per product."""
    products = raw["products"].rename(columns={"id": "product_id"})
    products["category"] = products["category"].fillna(UNKNOWN)
    products["price"] = _dollars(products["price_cents"])
    return _table(products, DIM_PRODUCTS)


def _orders(raw: Frames) -> pd.DataFrame:
    return raw["orders"][raw["orders"]["status"] != "test"]


def _sold_orders(raw: Frames) -> pd.DataFrame:
    return raw["orders"][~raw["orders"]["status"].isin(NOT_SOLD)]


def _count(rows: pd.DataFrame, column: str) -> pd.Series[int]:
    """How many rows hold each value of the column."""
    return rows.groupby(column).size().astype(pd.ArrowDtype(pa.int64()))


def _exact(integers: pd.Series[int]) -> pd.Series[int]:
    """The same numbers as Python's integers, of any size."""
    return integers.astype(object)


def _rounded_cents(gross: int) -> int:
    """Whole cents of an amount in cents times 10,000, rounded half away from zero."""
    # round() would round half to even, and // of a negative number rounds down.
    cents = (abs(gross) + 5_000) // 10_000
    return cents if gross >= 0 else -cents


def _dollars(cents: Iterable[int]) -> ExtensionArray:
    return pd.array([Decimal(int(amount)).scaleb(-2) for amount in cents], dtype=object)


def _table(rows: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    return pa.Table.from_pandas(rows[schema.names], schema=schema, preserve_index=False)
