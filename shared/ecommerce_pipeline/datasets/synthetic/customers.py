"""Synthetic customers: they arrive, change their e-mail, name or country, and some are deleted."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecommerce_pipeline.contract import CUSTOMERS
from ecommerce_pipeline.datasets.rows import (
    BLOCK_ROWS,
    BoolArray,
    Int64Array,
    arrow_table,
    deletion,
    in_blocks,
)
from ecommerce_pipeline.datasets.synthetic import text
from ecommerce_pipeline.datasets.synthetic.bits import (
    NEVER,
    Bits,
    Stream,
    Words,
    days_late,
    field,
    time_of_day,
)
from ecommerce_pipeline.datasets.synthetic.calendar import (
    REMEMBERED_DAYS,
    SHOP_DAYS,
    chunks,
    id_array,
    midnight,
    steady,
)
from ecommerce_pipeline.datasets.synthetic.text import pick
from ecommerce_pipeline.source.base import TableChanges

OLDEST_CHANGE = 18


class Customers:
    """The customers of one seed and scale; ages are in open days since the arrival."""

    def __init__(self, bits: Bits, scale: int) -> None:
        self._bits = bits
        size = 1 + scale // 4
        self.arrivals = steady(SHOP_DAYS, initial=300 * size, daily=6 * size)
        self.present = lru_cache(REMEMBERED_DAYS)(self._present)

    def changes(self, day: int) -> Iterator[TableChanges]:
        """New and changed customers, then the deletion of others."""
        yield from in_blocks(CUSTOMERS, self._pieces(day))
        deleted = [self._deleted(*cohort) for cohort in SHOP_DAYS.cohorts(day, OLDEST_CHANGE)]
        keys = np.concatenate([np.empty(0, dtype=np.int64), *deleted])
        if len(keys):
            yield deletion(CUSTOMERS, keys)

    def _present(self, day: int) -> Int64Array:
        """The ids in the source at the end of ``day``."""
        known = self.arrivals.known(day)
        numbers = np.array([SHOP_DAYS.before(d) for d in range(day + 2)])
        ages = numbers[-1] - 1 - numbers[self.arrivals.arrival_days(day)]
        words = self._bits.words(Stream.CUSTOMER, known)
        ids: Int64Array = id_array(known)[_deletion_age(words) > ages]
        return ids

    def _deleted(self, arrival_day: int, age: int) -> Int64Array:
        arrived = self.arrivals.ids(arrival_day)
        is_deleted = _deletion_age(self._bits.words(Stream.CUSTOMER, arrived)) == age
        ids: Int64Array = id_array(arrived)[is_deleted]
        return ids

    def _pieces(self, day: int) -> Iterator[pa.Table]:
        for arrival_day, age in SHOP_DAYS.cohorts(day, OLDEST_CHANGE):
            for ids in chunks(self.arrivals.ids(arrival_day), BLOCK_ROWS):
                words = self._bits.words(Stream.CUSTOMER, ids)
                changed = _changes_at(words, age)
                times = self._bits.words(Stream.CUSTOMER, ids, version=age)[:, 3]
                updated_at = midnight(day) + time_of_day(times)
                yield self._rows(
                    id_array(ids)[changed], words[changed], age, arrival_day, updated_at[changed]
                )

    def _rows(
        self, ids: Int64Array, words: Words, age: int, arrival_day: int, updated_at: Int64Array
    ) -> pa.Table:
        second_change = _second_change_age(words) <= age
        renames = field(words[:, 0], 40, 1) == 1
        return arrow_table(
            CUSTOMERS,
            {
                "id": ids,
                "email": _emails(ids, words, _first_change_age(words) <= age),
                "name": pick(text.CUSTOMER_NAMES, words[:, 1], 0, second_change & renames),
                "country": pick(text.COUNTRIES, words[:, 1], 20, second_change & ~renames),
                "created_at": self._created_at(ids, words, arrival_day),
                "updated_at": updated_at,
            },
        )

    def _created_at(self, ids: Int64Array, words: Words, arrival_day: int) -> Int64Array:
        """Initial customers signed up within the year before; one in five others arrives late."""
        days_before = np.where(
            ids <= self.arrivals.initial,
            field(words[:, 2], 0, 10) % 365,
            days_late(words[:, 2], 0, per_1024=200),
        )
        return midnight(arrival_day - days_before) + time_of_day(words[:, 3])


def _changes_at(words: Words, age: int) -> BoolArray:
    """Which customers have a new version at ``age``; all at age 0, the deleted ones no more."""
    changes = (_first_change_age(words) == age) | (_second_change_age(words) == age) | (age == 0)
    present_changes: BoolArray = changes & (_deletion_age(words) > age)
    return present_changes


def _first_change_age(words: Words) -> Int64Array:
    """The age, 1 to 8, at which about 30 % change their e-mail address."""
    return np.where(field(words[:, 0], 0, 10) < 300, 1 + field(words[:, 0], 10, 3), NEVER)


def _second_change_age(words: Words) -> Int64Array:
    """The age, 9 to 16, at which about 20 % change their name or country."""
    return np.where(field(words[:, 0], 13, 10) < 200, 9 + field(words[:, 0], 23, 3), NEVER)


def _deletion_age(words: Words) -> Int64Array:
    """The age, 3 to 18, at which about 4 % are deleted."""
    return np.where(field(words[:, 0], 26, 10) < 40, 3 + field(words[:, 0], 36, 4), NEVER)


def _emails(ids: Int64Array, words: Words, changed: BoolArray) -> pa.Array:
    """About 4 % have none (NULL) and 2 % an empty one, until they change it."""
    chance = np.where(changed, NEVER, field(words[:, 2], 10, 10))
    domains = pick(text.EMAIL_DOMAINS, words[:, 2], 20, changed)
    addresses = pc.binary_join_element_wise(
        "customer", pa.array(ids).cast(pa.string()), "@", domains, ""
    )
    present = pc.if_else(pa.array(chance < 60), "", addresses)
    return pc.if_else(pa.array(chance < 40), pa.scalar(None, pa.string()), present)
