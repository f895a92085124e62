"""The transaction lines in exact integers, from which every other table is derived."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ecommerce_pipeline.datasets.complete_journey import package
from ecommerce_pipeline.datasets.rows import Int64Array, day_slice

FIRST_DAY = date(2017, 1, 1)
LAST_DAY = date(2018, 1, 1)


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines in the package's order: by time, then basket, then product.

    ``quantity * unit_price_cents - discount_cents`` is the line's sales value in cents, exactly.

    Attributes:
        sold_at: microseconds since 1970, the package's local times taken as UTC.
        basket_id: the basket; all its lines have one time, household and store.
        household_id: who bought.
        store_id: where.
        product_id: what; the package's products lack some.
        quantity: units, at times 0; fuel is counted in thousandths of a gallon.
        unit_price_cents: the price before the retailer's discounts, rounded up to a cent.
        discount_cents: what is taken off, the rounding included.
    """

    sold_at: Int64Array
    basket_id: Int64Array
    household_id: Int64Array
    store_id: Int64Array
    product_id: Int64Array
    quantity: Int64Array
    unit_price_cents: Int64Array
    discount_cents: Int64Array

    def of_day(self, day: date) -> slice:
        """The positions of the day's lines."""
        return day_slice(self.sold_at, day)

    def sales_cents(self, part: slice) -> Int64Array:
        """What each line of a part sold for."""
        gross_cents = self.quantity[part] * self.unit_price_cents[part]
        sales_cents: Int64Array = gross_cents - self.discount_cents[part]
        return sales_cents


@cache
def load() -> Lines:
    """Read the package's transactions, once in a process."""
    keys = ["basket_id", "household_id", "store_id", "product_id", "quantity"]
    money = ["sales_value", "retail_disc", "coupon_match_disc"]
    table = package.read("transactions", [*keys, *money, "transaction_timestamp"])
    integers = {name: table[name].to_numpy() for name in keys}
    sales, retail_discount, coupon_match = (_cents(table[name].to_numpy()) for name in money)
    quantity = integers["quantity"]
    unit_price_cents = _unit_price(sales + retail_discount + coupon_match, quantity)
    return Lines(
        sold_at=table["transaction_timestamp"].cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(),
        **integers,
        unit_price_cents=unit_price_cents,
        discount_cents=quantity * unit_price_cents - sales,
    )


def _cents(dollars: npt.NDArray[np.float64]) -> Int64Array:
    """The nearest cent; the package's floats are within 1e-11 cents of one."""
    return np.rint(dollars * 100).astype(np.int64)


def _unit_price(gross_cents: Int64Array, quantity: Int64Array) -> Int64Array:
    """The gross amount for one unit, rounded up to leave no negative discount; 0 for no units."""
    price: Int64Array = -(-gross_cents // np.maximum(quantity, 1))
    return np.where(quantity > 0, price, 0)
