"""Synthetic orders and their lines: they arrive, move on day by day, and some are corrected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ecommerce_pipeline.contract import ORDER_ITEMS, ORDER_STATUSES, ORDERS
from ecommerce_pipeline.datasets.rows import (
    BLOCK_ROWS,
    BoolArray,
    Int64Array,
    arrow_table,
    in_blocks,
)
from ecommerce_pipeline.datasets.synthetic.bits import Bits, Stream, skewed, time_of_day
from ecommerce_pipeline.datasets.synthetic.calendar import (
    SHOP_DAYS,
    chunks,
    id_array,
    midnight,
    weekly,
)
from ecommerce_pipeline.datasets.synthetic.customers import Customers
from ecommerce_pipeline.datasets.synthetic.order_draws import (
    LINES_PER_ORDER,
    OLDEST_CHANGE,
    LineDraws,
    OrderDraws,
    with_tax,
)
from ecommerce_pipeline.datasets.synthetic.products import Products
from ecommerce_pipeline.source.base import TableChanges

_STATUSES = pa.array(ORDER_STATUSES, pa.string())
_ORDERS_PER_CHUNK = BLOCK_ROWS // LINES_PER_ORDER


@dataclass(frozen=True, slots=True)
class _Change:
    """What happens on ``day`` to some of the orders of one chunk: their ids, draws and lines."""

    day: int
    arrival_day: int
    age: int
    chunk: range
    selected: BoolArray
    draws: OrderDraws
    lines: LineDraws

    @property
    def ids(self) -> Int64Array:
        return id_array(self.chunk)[self.selected]


class Orders:
    """The orders and order lines of one seed and scale."""

    def __init__(self, bits: Bits, scale: int, customers: Customers, products: Products) -> None:
        self._bits = bits
        self._customers = customers
        self._products = products
        self.arrivals = weekly(SHOP_DAYS, 480 * scale)

    def changes(self, day: int) -> Iterator[TableChanges]:
        """New and changed orders, then new and corrected lines."""
        order_changes = self._select(day, OrderDraws.order_changes_at)
        yield from in_blocks(ORDERS, map(self._order_rows, order_changes))
        line_changes = self._select(day, OrderDraws.lines_change_at)
        yield from in_blocks(ORDER_ITEMS, map(self._line_rows, line_changes))

    def _select(
        self, day: int, changes_at: Callable[[OrderDraws, int], BoolArray]
    ) -> Iterator[_Change]:
        for arrival_day, age in SHOP_DAYS.cohorts(day, OLDEST_CHANGE):
            prices = self._products.prices(arrival_day)
            for chunk in chunks(self.arrivals.ids(arrival_day), _ORDERS_PER_CHUNK):
                every = OrderDraws(self._bits.words(Stream.ORDER, chunk))
                selected = changes_at(every, age)
                draws = every.take(selected)
                line_words = self._bits.words(Stream.ORDER_LINES, chunk)[selected]
                lines = LineDraws(line_words, draws, prices)
                yield _Change(day, arrival_day, age, chunk, selected, draws, lines)

    def _order_rows(self, change: _Change) -> pa.Table:
        draws = change.draws
        customers = self._customers.present(change.arrival_day)
        subtotal_cents = change.lines.subtotal_cents(change.age)
        tax_rate_bp = draws.tax_rate_bp()
        placed_on = change.arrival_day - draws.days_late
        times = self._bits.words(Stream.ORDER, change.chunk, version=change.age)[change.selected]
        return arrow_table(
            ORDERS,
            {
                "id": change.ids,
                "user_id": customers[skewed(draws.words[:, 0], 0, len(customers))],
                "status": _STATUSES.take(pa.array(draws.status(change.age))),
                "subtotal_cents": subtotal_cents,
                "tax_rate_bp": tax_rate_bp,
                "total_cents": with_tax(subtotal_cents, tax_rate_bp),
                "created_at": midnight(placed_on) + time_of_day(draws.words[:, 3]),
                "updated_at": midnight(change.day) + time_of_day(times[:, 3]),
            },
        )

    def _line_rows(self, change: _Change) -> pa.Table:
        lines = change.lines
        order_ids = change.ids[:, np.newaxis]
        place = np.arange(LINES_PER_ORDER)
        changed = lines.is_present & ((change.age == 0) | (place == 0))
        times = self._bits.words(Stream.LINE_TIMES, change.chunk, version=change.age)
        columns = {
            "id": (order_ids - 1) * LINES_PER_ORDER + place + 1,
            "order_id": np.broadcast_to(order_ids, changed.shape),
            "product_id": lines.product_id,
            "quantity": lines.quantity(change.age),
            "unit_price_cents": lines.unit_price_cents,
            "discount_cents": lines.discount_cents,
            "updated_at": midnight(change.day) + time_of_day(times[change.selected]),
        }
        return arrow_table(ORDER_ITEMS, {name: values[changed] for name, values in columns.items()})
