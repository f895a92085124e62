"""What chance decides about synthetic page views: sessions of four views each."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ecommerce_pipeline.datasets.rows import DAY_MICROSECONDS, BoolArray, Int64Array
from ecommerce_pipeline.datasets.synthetic import text
from ecommerce_pipeline.datasets.synthetic.bits import (
    NEVER,
    WORDS_PER_ROW,
    Words,
    days_late,
    field,
    skewed,
    time_of_day,
)

VIEWS_PER_SESSION = WORDS_PER_ROW
OLDEST_CHANGE = 4

_LONGEST_VIEW_SECONDS = 512
_HOME = len(text.EXTERNAL_REFERRERS)
_INNER = _HOME + 1
_PRODUCT = _INNER + len(text.INNER_PAGES)


class ViewDraws:
    """The views of some sessions, as arrays of shape (sessions, 4) with a column for each view.

    A session shows the home page, a product, an inner page, then the same product again; later
    views are later by at least a second, so that no key occurs twice.

    Args:
        sessions: the sessions' words, of shape (n, 4).
        views: the views' words, of the same shape.

    Attributes:
        days_late: how many days before its arrival a view happened; 0 for about 97 %.
        time_of_day: when it happened, in microseconds since midnight.
        correction_age: 1 to 4, in open days, for the about 2 % whose duration is corrected.
    """

    def __init__(self, sessions: Words, views: Words) -> None:
        self._sessions = sessions
        self._views = views
        self._seconds = 1 + field(views, 40, 9)
        self.days_late = _spread(days_late(sessions[:, 0], 23, per_1024=30))
        self.time_of_day = self._time_of_day()
        is_corrected = field(views, 20, 10) < 20
        self.correction_age = np.where(is_corrected, 1 + field(views, 30, 2), NEVER)

    def changes_at(self, age: int) -> BoolArray:
        """Which views have a new version at ``age``; all at age 0."""
        changes: BoolArray = (self.correction_age == age) | (age == 0)
        return changes

    def is_anonymous(self) -> BoolArray:
        """Whether nobody was signed in: 3 sessions in 8."""
        is_anonymous: BoolArray = _spread(field(self._sessions[:, 0], 20, 3)) < 3
        return is_anonymous

    def user_id(self, customers: Int64Array) -> Int64Array:
        """Who would be signed in, out of ``customers``."""
        return _spread(customers[skewed(self._sessions[:, 0], 0, len(customers))])

    def url_index(self, product_count: int) -> Int64Array:
        """The pages, as indices of ``url_vocabulary``."""
        product = _PRODUCT + skewed(self._views[:, 1], 0, product_count)
        inner = _INNER + field(self._views[:, 2], 0, 20) % len(text.INNER_PAGES)
        return np.stack([np.full_like(product, _HOME), product, inner, product], axis=1)

    def referrer_index(self, product_count: int) -> Int64Array:
        """What led there: from outside to the first page, then the page before."""
        outside = field(self._sessions[:, 1], 0, 20) % len(text.EXTERNAL_REFERRERS)
        return np.column_stack([outside, self.url_index(product_count)[:, :-1]])

    def duration_seconds(self, age: int) -> tuple[Int64Array, BoolArray]:
        """The durations at ``age``, and which are unknown: the last view's until corrected."""
        corrected = age >= self.correction_age
        seconds = self._seconds + np.where(corrected, 1 + field(self._views, 32, 8), 0)
        is_last = np.arange(VIEWS_PER_SESSION) == VIEWS_PER_SESSION - 1
        return seconds, is_last & ~corrected

    def _time_of_day(self) -> Int64Array:
        longest = VIEWS_PER_SESSION * _LONGEST_VIEW_SECONDS * 1_000_000
        start = time_of_day(self._sessions[:, 3]) % (DAY_MICROSECONDS - longest)
        waited = np.cumsum(self._seconds, axis=1) - self._seconds
        return start[:, np.newaxis] + waited * 1_000_000


def url_vocabulary(products: range) -> pa.Array:
    """What the indices mean: outside pages, the home page, inner pages, product pages."""
    pages = [*text.EXTERNAL_REFERRERS, text.HOME_PAGE, *text.INNER_PAGES]
    return pa.array([*pages, *(f"/products/{product}" for product in products)], pa.string())


def _spread(values: Int64Array) -> Int64Array:
    """Each session's value for each of its views."""
    return np.broadcast_to(values[:, np.newaxis], (len(values), VIEWS_PER_SESSION))
