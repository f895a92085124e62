"""Synthetic products: they arrive, and each changes its price every few open days."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import isqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecommerce_pipeline.contract import PRODUCTS
from ecommerce_pipeline.datasets.rows import BoolArray, Int64Array, arrow_table, in_blocks
from ecommerce_pipeline.datasets.synthetic import text
from ecommerce_pipeline.datasets.synthetic.bits import Bits, Stream, Words, field, time_of_day
from ecommerce_pipeline.datasets.synthetic.calendar import (
    REMEMBERED_DAYS,
    SHOP_DAYS,
    id_array,
    midnight,
    steady,
)
from ecommerce_pipeline.datasets.synthetic.text import pick
from ecommerce_pipeline.source.base import TableChanges

_PRICE_STEPS = 41


class Products:
    """The products of one seed and scale: a few thousand at the largest scale."""

    def __init__(self, bits: Bits, scale: int) -> None:
        self._bits = bits
        size = 1 + isqrt(scale) // 2
        self.arrivals = steady(SHOP_DAYS, initial=80 * size, daily=2 * size)
        self.prices = lru_cache(REMEMBERED_DAYS)(self._prices)

    def changes(self, day: int) -> Iterator[TableChanges]:
        """New products, and known ones whose price changes."""
        if SHOP_DAYS.is_open(day):
            yield from in_blocks(PRODUCTS, [self._new_or_repriced(day)])

    def _prices(self, day: int) -> Int64Array:
        """The price in cents, at the end of ``day``, of every known product in order of its id."""
        words = self._bits.words(Stream.PRODUCT, self.arrivals.known(day))
        return _price_cents(words, SHOP_DAYS.before(day))

    def _new_or_repriced(self, day: int) -> pa.Table:
        number = SHOP_DAYS.before(day)
        known = self.arrivals.known(day)
        words = self._bits.words(Stream.PRODUCT, known)
        times = self._bits.words(Stream.PRODUCT, known, version=number)
        arrival_days = self.arrivals.arrival_days(day)
        is_new = arrival_days == day
        created_at = midnight(arrival_days) + time_of_day(words[:, 3])
        repriced_at = midnight(day) + time_of_day(times[:, 3])
        updated_at = np.where(is_new, created_at, repriced_at)
        changed = is_new | _is_repriced(words, number)
        return _rows(
            id_array(known)[changed],
            words[changed],
            number,
            created_at[changed],
            updated_at[changed],
        )


def _rows(
    ids: Int64Array, words: Words, number: int, created_at: Int64Array, updated_at: Int64Array
) -> pa.Table:
    digits = pc.utf8_lpad(pa.array(ids).cast(pa.string()), 6, "0")
    return arrow_table(
        PRODUCTS,
        {
            "id": ids,
            "sku": pc.binary_join_element_wise("SKU-", digits, ""),
            "name": pick(text.PRODUCT_NAMES, words[:, 1], 0),
            "category": pick(text.CATEGORIES, words[:, 1], 20),
            "price_cents": _price_cents(words, number),
            "created_at": created_at,
            "updated_at": updated_at,
        },
    )


def _is_repriced(words: Words, number: int) -> BoolArray:
    is_repriced: BoolArray = (number + _phase(words)) % _period(words) == 0
    return is_repriced


def _price_cents(words: Words, number: int) -> Int64Array:
    """The price on the open day ``number``: 80 to 120 % of a base price of 1 to 256 dollars."""
    uniform = field(words[:, 0], 0, 20)
    base = 100 + (uniform * uniform * 25_500 >> 40)
    price_number = (number + _phase(words)) // _period(words)
    step = 1 + field(words[:, 0], 20, 10) % (_PRICE_STEPS - 1)
    percent = 80 + (field(words[:, 0], 30, 10) + price_number * step) % _PRICE_STEPS
    price_cents: Int64Array = base * percent // 100
    return price_cents


def _period(words: Words) -> Int64Array:
    """The open days from one price to the next: 5 to 20."""
    return 5 + field(words[:, 0], 40, 4)


def _phase(words: Words) -> Int64Array:
    return field(words[:, 0], 44, 5)
