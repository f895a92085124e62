"""What chance decides about synthetic orders and their lines, all in integers."""

from __future__ import annotations

import numpy as np

from ecommerce_pipeline.contract import ORDER_STATUSES
from ecommerce_pipeline.datasets.rows import BoolArray, Int64Array
from ecommerce_pipeline.datasets.synthetic.bits import (
    NEVER,
    WORDS_PER_ROW,
    Words,
    days_late,
    field,
    skewed,
)

LINES_PER_ORDER = WORDS_PER_ROW
OLDEST_CHANGE = 8
UNKNOWN_PRODUCTS = 900_000_000
"""From here up, ids are of products that the source never has."""

_CANCELLED = ORDER_STATUSES.index("cancelled")
_TEST = ORDER_STATUSES.index("test")
_TAX_RATES_BP = np.array([0, 500, 725, 825, 1000, 1900, 2000, 2550], dtype=np.int64)
_QUANTITIES = np.array([1] * 9 + [2] * 4 + [3] * 2 + [6], dtype=np.int64)
_DISCOUNT_TENTHS = np.array([0] * 11 + [1, 1, 2, 3, 5], dtype=np.int64)


class OrderDraws:
    """Orders by their words, an array of shape (n, 4); ages are in open days since the arrival.

    Attributes:
        words: the words; column 3 is left to the order's times.
        is_test: about 1 % are test orders, which keep that status.
        is_lost: about 0.3 % never reach the source, although their lines do.
        days_late: how many days before its arrival the order was placed; 0 for about 97 %.
        line_count: 0 for about 1 %, else 1 to 4.
        correction_age: 1 to 8 for the about 4 % whose first line's quantity is corrected.
    """

    def __init__(self, words: Words) -> None:
        self.words = words
        self.is_test = field(words[:, 0], 24, 10) < 10
        self.is_lost = field(words[:, 0], 34, 10) < 3
        self.days_late = days_late(words[:, 0], 44, per_1024=30)
        has_lines = field(words[:, 1], 0, 7) > 0
        self.line_count = np.where(has_lines, 1 + field(words[:, 1], 7, 2), 0)
        is_corrected = has_lines & (field(words[:, 1], 9, 10) < 40)
        self.correction_age = np.where(is_corrected, 1 + field(words[:, 1], 19, 3), NEVER)

    def take(self, selected: BoolArray) -> OrderDraws:
        """The selected orders only."""
        return OrderDraws(self.words[selected])

    def status(self, age: int) -> Int64Array:
        """The index in ``ORDER_STATUSES``; 8 % are cancelled before they could be shipped."""
        shipped_age = 2 + field(self.words[:, 1], 22, 1)
        delivered_age = shipped_age + 1 + field(self.words[:, 1], 23, 2)
        is_cancelled = field(self.words[:, 1], 25, 10) < 82
        cancelled_age = np.where(is_cancelled, 1 + field(self.words[:, 1], 35, 1), NEVER)
        steps = int(age >= 1) + (age >= shipped_age).astype(np.int64) + (age >= delivered_age)
        return np.where(self.is_test, _TEST, np.where(age >= cancelled_age, _CANCELLED, steps))

    def lines_change_at(self, age: int) -> BoolArray:
        """Whose lines have a new version at ``age``; all at age 0."""
        changes: BoolArray = (self.correction_age == age) | (age == 0)
        return changes

    def order_changes_at(self, age: int) -> BoolArray:
        """Which orders have a new version at ``age``; all but the lost ones at age 0."""
        moves_on = self.status(age) != self.status(age - 1)
        changes: BoolArray = (moves_on | self.lines_change_at(age)) & ~self.is_lost
        return changes

    def tax_rate_bp(self) -> Int64Array:
        """The tax rate in basis points."""
        return _TAX_RATES_BP[field(self.words[:, 0], 20, 3)]


class LineDraws:
    """The lines of some orders, as arrays of shape (orders, 4) with a column for each place.

    Args:
        words: the lines' words.
        orders: the orders, in the same order.
        prices: the price in cents of every known product in order of its id.

    Attributes:
        is_present: the places that have a line.
        product_id: about 0.6 % of the products are unknown.
        unit_price_cents: the product's price.
        discount_cents: at most half the price of one unit.
    """

    def __init__(self, words: Words, orders: OrderDraws, prices: Int64Array) -> None:
        self._words = words
        self._correction_age = orders.correction_age
        self.is_present = np.arange(LINES_PER_ORDER) < orders.line_count[:, np.newaxis]
        index = skewed(words, 0, len(prices))
        is_unknown = field(words, 20, 9) < 3
        self.product_id = np.where(is_unknown, UNKNOWN_PRODUCTS + field(words, 49, 10), 1 + index)
        self.unit_price_cents = np.where(is_unknown, 100 + field(words, 37, 12), prices[index])
        tenths = _DISCOUNT_TENTHS[field(words, 33, 4)]
        self.discount_cents = self.unit_price_cents * tenths // 10

    def quantity(self, age: int) -> Int64Array:
        """The quantities at ``age``: from the correction on, another one on the first line."""
        quantity = _QUANTITIES[field(self._words, 29, 4)]
        first = quantity[:, 0]
        quantity[:, 0] = np.where(age >= self._correction_age, 1 + first % 6, first)
        return quantity

    def subtotal_cents(self, age: int) -> Int64Array:
        """The sum over each order's lines, discounts taken off."""
        amounts = self.quantity(age) * self.unit_price_cents - self.discount_cents
        subtotals: Int64Array = np.where(self.is_present, amounts, 0).sum(axis=1)
        return subtotals


def with_tax(subtotal_cents: Int64Array, tax_rate_bp: Int64Array) -> Int64Array:
    """Add the tax, rounded half away from zero; no subtotal is negative."""
    return subtotal_cents + (subtotal_cents * tax_rate_bp + 5_000) // 10_000
