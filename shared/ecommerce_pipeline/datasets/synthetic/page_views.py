"""Synthetic page views: they arrive, some late, and some have their duration corrected later."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecommerce_pipeline.contract import PAGE_VIEWS
from ecommerce_pipeline.datasets.rows import BLOCK_ROWS, arrow_table, in_blocks, null_where
from ecommerce_pipeline.datasets.synthetic.bits import Bits, Stream, time_of_day
from ecommerce_pipeline.datasets.synthetic.calendar import (
    SITE_DAYS,
    chunks,
    id_array,
    midnight,
    weekly,
)
from ecommerce_pipeline.datasets.synthetic.customers import Customers
from ecommerce_pipeline.datasets.synthetic.page_view_draws import (
    OLDEST_CHANGE,
    VIEWS_PER_SESSION,
    ViewDraws,
    url_vocabulary,
)
from ecommerce_pipeline.datasets.synthetic.products import Products
from ecommerce_pipeline.source.base import TableChanges

_SESSIONS_PER_CHUNK = BLOCK_ROWS // VIEWS_PER_SESSION


class PageViews:
    """The page views of one seed and scale; ages are in the site's open days since the arrival."""

    def __init__(self, bits: Bits, scale: int, customers: Customers, products: Products) -> None:
        self._bits = bits
        self._customers = customers
        self._products = products
        self.sessions = weekly(SITE_DAYS, 150 * scale)

    def changes(self, day: int) -> Iterator[TableChanges]:
        """New page views, and earlier ones whose duration is corrected."""
        yield from in_blocks(PAGE_VIEWS, self._pieces(day))

    def _pieces(self, day: int) -> Iterator[pa.Table]:
        for arrival_day, age in SITE_DAYS.cohorts(day, OLDEST_CHANGE):
            for ids in chunks(self.sessions.ids(arrival_day), _SESSIONS_PER_CHUNK):
                yield self._rows(day, arrival_day, age, ids)

    def _rows(self, day: int, arrival_day: int, age: int, chunk: range) -> pa.Table:
        session_words = self._bits.words(Stream.SESSION, chunk)
        view_words = self._bits.words(Stream.PAGE_VIEWS, chunk)
        selected = ViewDraws(session_words, view_words).changes_at(age).any(axis=1)
        draws = ViewDraws(session_words[selected], view_words[selected])
        changed = draws.changes_at(age)
        customers = self._customers.present(arrival_day)
        products = self._products.arrivals.known(arrival_day)
        urls = url_vocabulary(products)
        sessions = np.repeat(id_array(chunk)[selected], changed.sum(axis=1))
        seconds, has_no_duration = draws.duration_seconds(age)
        if age:
            words = self._bits.words(Stream.PAGE_VIEW_TIMES, chunk, version=age)[selected]
            times = time_of_day(words)
        else:
            times = draws.time_of_day
        return arrow_table(
            PAGE_VIEWS,
            {
                "session_id": pc.binary_join_element_wise(
                    "s", pa.array(sessions).cast(pa.string()), ""
                ),
                "user_id": null_where(
                    draws.is_anonymous()[changed], draws.user_id(customers)[changed]
                ),
                "page_url": urls.take(pa.array(draws.url_index(len(products))[changed])),
                "referrer_url": urls.take(pa.array(draws.referrer_index(len(products))[changed])),
                "duration_seconds": null_where(has_no_duration[changed], seconds[changed]),
                "viewed_at": (midnight(arrival_day - draws.days_late) + draws.time_of_day)[changed],
                "updated_at": (midnight(day) + times)[changed],
            },
        )
