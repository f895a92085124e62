"""The orders, their lines and the page views that led to them, all from one day's baskets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecommerce_pipeline.contract import ORDER_ITEMS, ORDERS, PAGE_VIEWS
from ecommerce_pipeline.datasets.complete_journey import lines
from ecommerce_pipeline.datasets.rows import Int64Array, arrow_table, null_where

STATUS = "delivered"
TAX_RATE_BP = 0
CHECKOUT_PAGE = "/checkout"
SECONDS_PER_LINE = 20
"""How long the made-up visit before a basket takes for each of its lines."""


@dataclass(frozen=True, slots=True)
class _Baskets:
    """One day's baskets, in order of their time."""

    id: Int64Array
    household_id: Int64Array
    store_id: Int64Array
    sold_at: Int64Array
    line_count: Int64Array
    sales_cents: Int64Array


def order_rows_of(day: date) -> pa.Table:
    """The day's baskets as orders: paid and taken home, and without any tax in the data."""
    baskets = _baskets_of(day)
    count = len(baskets.id)
    return arrow_table(
        ORDERS,
        {
            "id": baskets.id,
            "user_id": baskets.household_id,
            "status": pa.repeat(STATUS, count),
            "subtotal_cents": baskets.sales_cents,
            "tax_rate_bp": np.full(count, TAX_RATE_BP),
            "total_cents": baskets.sales_cents,
            "created_at": baskets.sold_at,
            "updated_at": baskets.sold_at,
        },
    )


def line_rows_of(day: date) -> pa.Table:
    """The day's lines; a line's id is its place in the package, counted from 1."""
    sold = lines.load()
    today = sold.of_day(day)
    return arrow_table(
        ORDER_ITEMS,
        {
            "id": np.arange(today.start + 1, today.stop + 1),
            "order_id": sold.basket_id[today],
            "product_id": sold.product_id[today],
            "quantity": sold.quantity[today],
            "unit_price_cents": sold.unit_price_cents[today],
            "discount_cents": sold.discount_cents[today],
            "updated_at": sold.sold_at[today],
        },
    )


def page_view_rows_of(day: date) -> pa.Table:
    """Two made-up views for each basket: its store's page, then the checkout."""
    baskets = _baskets_of(day)
    seconds = SECONDS_PER_LINE * baskets.line_count
    store = pc.binary_join_element_wise("/stores/", _text(baskets.store_id), "")
    checkout = pa.repeat(CHECKOUT_PAGE, len(store))
    entered_at = baskets.sold_at - seconds * 1_000_000
    is_checkout = np.arange(2 * len(store)) >= len(store)
    return arrow_table(
        PAGE_VIEWS,
        {
            "session_id": pc.binary_join_element_wise("basket-", _text(np.tile(baskets.id, 2)), ""),
            "user_id": np.tile(baskets.household_id, 2),
            "page_url": pa.chunked_array([store, checkout]),
            "referrer_url": pa.chunked_array([pa.nulls(len(store), pa.string()), store]),
            "duration_seconds": null_where(is_checkout, np.tile(seconds, 2)),
            "viewed_at": np.concatenate([entered_at, baskets.sold_at]),
            "updated_at": np.tile(baskets.sold_at, 2),
        },
    )


def _baskets_of(day: date) -> _Baskets:
    sold = lines.load()
    today = sold.of_day(day)
    ids, first, line_count = np.unique(sold.basket_id[today], return_index=True, return_counts=True)
    order = np.argsort(first)
    first, line_count = first[order], line_count[order]
    return _Baskets(
        id=ids[order],
        household_id=sold.household_id[today][first],
        store_id=sold.store_id[today][first],
        sold_at=sold.sold_at[today][first],
        line_count=line_count,
        sales_cents=np.add.reduceat(sold.sales_cents(today), first) if len(first) else ids,
    )


def _text(values: Int64Array) -> pa.Array:
    return pa.array(values).cast(pa.string())
