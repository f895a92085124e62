"""The synthetic data set: an online shop whose every row follows from a seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date

from ecommerce_pipeline.datasets.synthetic.bits import Bits
from ecommerce_pipeline.datasets.synthetic.calendar import FIRST_DAY, day_number
from ecommerce_pipeline.datasets.synthetic.customers import Customers
from ecommerce_pipeline.datasets.synthetic.orders import Orders
from ecommerce_pipeline.datasets.synthetic.page_views import PageViews
from ecommerce_pipeline.datasets.synthetic.products import Products
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.base import TableChanges

LARGEST_SEED = 2**63 - 1
LARGEST_SCALE = 10_000


class Synthetic:
    """A shop that opens on 2025-01-01 and goes on for ever; the same options, the same rows.

    A row's content at any version is a function of (seed, scale, table, id, version) alone. Orders,
    lines and page views grow in proportion to the scale, customers a quarter as fast, products
    with its square root. At scale 1 a day brings about 480 orders, 1,190 lines and 600 page
    views; the first day brings 306 customers and 82 products.

    What the history has, beside new rows on every open day:

    - orders move on from pending over processing and shipped to delivered; some are cancelled;
    - products change their price, customers their e-mail address, name or country;
    - rows arrive late: created or viewed one to three days before the day that brings them;
    - corrections: a line's quantity with its order's amounts on the same day, and the duration of
      page views;
    - customers are deleted for good while orders keep pointing at them; nothing else is deleted;
    - orders of the status ``test``, with lines; orders without lines; lines whose order or product
      is unknown;
    - text in many scripts, emoji, quotes, commas, backslashes, newlines, NULL and empty text;
    - of each 14 days the fourth is wholly empty and the ninth changes page views only;
    - ``updated_at`` at exactly midnight and in the day's last microsecond.

    Args:
        seed: what all rows follow from, from 1 to 2**63 - 1.
        scale: how many times the smallest size, from 1 to 10,000.

    Raises:
        PipelineError: the seed or the scale is out of range.
    """

    name = "synthetic"
    first_day: date = FIRST_DAY
    last_day: date | None = None

    def __init__(self, seed: int = 1, scale: int = 1) -> None:
        _check("seed", seed, LARGEST_SEED)
        _check("scale", scale, LARGEST_SCALE)
        self.options: Mapping[str, int] = {"seed": seed, "scale": scale}
        bits = Bits(seed)
        customers = Customers(bits, scale)
        products = Products(bits, scale)
        orders = Orders(bits, scale, customers, products)
        self._tables = (customers, products, orders, PageViews(bits, scale, customers, products))

    def changes(self, day: date) -> Iterator[TableChanges]:
        """One UTC day's changes in blocks of at most ``BLOCK_ROWS``; none before the first day."""
        number = day_number(day)
        if number >= 0:
            for table in self._tables:
                yield from table.changes(number)


def _check(option: str, value: int, largest: int) -> None:
    if not 1 <= value <= largest:
        raise PipelineError(
            f"the synthetic data set's {option} {value} is out of range",
            f"give one from 1 to {largest}",
        )
