"""Chance as a pure function: the same random words for the same row on every machine.

Only raw Philox4x64-10 words are used (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011), whose stream is fixed by the algorithm; NumPy may change its distributions.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt

from ecommerce_pipeline.datasets.rows import DAY_MICROSECONDS, Int64Array

Words = npt.NDArray[np.uint64]

WORDS_PER_ROW = 4
NEVER = 1_000_000_000
"""The age at which something happens that does not."""


class Stream(IntEnum):
    """What the words are for; each stream is independent of the others."""

    CUSTOMER = 1
    PRODUCT = 2
    ORDER = 3
    ORDER_LINES = 4
    LINE_TIMES = 5
    SESSION = 6
    PAGE_VIEWS = 7
    PAGE_VIEW_TIMES = 8


class Bits:
    """The random words of every row of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def words(self, stream: Stream, ids: range, version: int = 0) -> Words:
        """Four words for each of the consecutive ids from 1 up, as an array of shape (n, 4)."""
        generator = np.random.Philox(
            key=np.array([self._seed, stream], dtype=np.uint64),
            # Philox counts up before it draws, so that this row's words come first.
            counter=np.array([ids.start - 1, version, 0, 0], dtype=np.uint64),
        )
        words: Words = generator.random_raw(WORDS_PER_ROW * len(ids))
        return words.reshape(-1, WORDS_PER_ROW)


def field(words: Words, start: int, width: int) -> Int64Array:
    """The ``width`` bits of each word from bit ``start`` up, at most 63, as an integer."""
    mask = np.uint64((1 << width) - 1)
    return ((words >> np.uint64(start)) & mask).astype(np.int64)


def skewed(words: Words, start: int, size: int) -> Int64Array:
    """An index below ``size`` from 20 bits of each word; low ones are likelier.

    A share x of the lowest indices is drawn with probability sqrt(x).
    """
    uniform = field(words, start, 20)
    return ((uniform * uniform >> 20) * size) >> 20


def days_late(words: Words, start: int, per_1024: int) -> Int64Array:
    """From 10 bits of each word: 1, 2 or 3 for that many rows in 1,024, else 0."""
    chance = field(words, start, 10)
    return np.where(chance < per_1024, 1 + chance % 3, 0)


def time_of_day(words: Words) -> Int64Array:
    """Microseconds since midnight; one row in 256 each gets the day's first and last one."""
    special = field(words, 0, 8)
    micros = field(words, 16, 48) % DAY_MICROSECONDS
    micros[special == 0] = 0
    micros[special == 1] = DAY_MICROSECONDS - 1
    return micros
