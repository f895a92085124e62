"""The synthetic data set's determinism, options, types and memory."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_pipeline.contract import TABLE_BY_NAME
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.datasets.rows import BLOCK_ROWS
from ecommerce_pipeline.datasets.synthetic import LARGEST_SCALE, LARGEST_SEED, Synthetic
from ecommerce_pipeline.datasets.synthetic.bits import Bits, Stream, time_of_day
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.base import TableChanges

# A day that brings every kind of change, deletions included.
DAY = date(2025, 1, 12)
DIGEST_OF_DAY = "a4c6e0bcbe57e675debfb5521def63fd38ca92b602229abfacce5ec0e6074ae6"


def _values(rows: pa.Table) -> list[list[object]]:
    """The columns' values, times as microseconds, whatever the Arrow version's layout."""
    return [
        (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        for column in rows.columns
    ]


def _digest(changes: Iterable[TableChanges]) -> str:
    digest = hashlib.sha256()
    for change in changes:
        deleted = change.deleted_keys
        parts = (change.table, _values(change.upserts), deleted and _values(deleted))
        digest.update(repr(parts).encode())
    return digest.hexdigest()


def test_pinned_day() -> None:
    """A day's rows are the same on every machine and with every version of the libraries."""
    assert _digest(Synthetic().changes(DAY)) == DIGEST_OF_DAY


def test_days_stand_alone() -> None:
    """A day's changes do not depend on which days were asked for before."""
    dataset = Synthetic(seed=7)
    for number in range(6):
        list(dataset.changes(date(2025, 1, 8) + timedelta(days=number)))
    assert _digest(dataset.changes(DAY)) == _digest(Synthetic(seed=7).changes(DAY))


@pytest.mark.parametrize("other", [Synthetic(seed=2), Synthetic(scale=2)])
def test_options_matter(other: Synthetic) -> None:
    """Another seed and another scale give other rows."""
    assert _digest(other.changes(DAY)) != _digest(Synthetic().changes(DAY))


def test_identity() -> None:
    """The options are part of what the data set is, and it has no end."""
    dataset = load_dataset("synthetic", seed=3, scale=4)
    assert dataset.name == "synthetic"
    assert dict(dataset.options) == {"seed": 3, "scale": 4}
    assert (dataset.first_day, dataset.last_day) == (date(2025, 1, 1), None)


def test_before_the_first_day() -> None:
    """Before its first day the shop does not exist."""
    assert list(Synthetic().changes(date(2024, 12, 31))) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", -1),
        ("seed", 0),
        ("seed", LARGEST_SEED + 1),
        ("scale", -1),
        ("scale", 0),
        ("scale", LARGEST_SCALE + 1),
    ],
)
def test_options_out_of_range(option: str, value: int) -> None:
    """A seed or a scale out of range is refused by name and value."""
    with pytest.raises(PipelineError, match=f"{option} {value} is out of range; give one from 1"):
        Synthetic(**{option: value})


@pytest.mark.parametrize("seed", [1, LARGEST_SEED])
def test_schema_is_exact(seed: int) -> None:
    """Upserts have the contract's schema, deletions its key, and no required column has NULL."""
    for change in Synthetic(seed=seed).changes(DAY):
        schema = TABLE_BY_NAME[change.table].arrow_schema
        assert change.upserts.schema.equals(schema, check_metadata=True)
        change.upserts.validate(full=True)
        for field, column in zip(schema, change.upserts.columns, strict=True):
            assert field.nullable or column.null_count == 0
        if change.deleted_keys is not None:
            assert change.deleted_keys.schema.equals(pa.schema([schema.field("id")]))
            change.deleted_keys.validate(full=True)


@given(
    seed=st.integers(1, LARGEST_SEED),
    start=st.integers(1, 2**40),
    count=st.integers(1, 50),
    skip=st.integers(0, 49),
    version=st.integers(0, 2**20),
)
def test_words_belong_to_the_row(
    seed: int, start: int, count: int, skip: int, version: int
) -> None:
    """A row's words do not depend on which other rows are drawn with it."""
    ids = range(start, start + count)
    together = Bits(seed).words(Stream.ORDER, ids, version)
    apart = Bits(seed).words(Stream.ORDER, ids[skip:], version)
    assert np.array_equal(together[skip:], apart)


@given(seed=st.integers(1, LARGEST_SEED))
def test_time_of_day_is_in_the_day(seed: int) -> None:
    """Times of day lie from midnight to the last microsecond, and both ends occur."""
    times = time_of_day(Bits(seed).words(Stream.ORDER, range(1, 4001))[:, 3])
    assert times.min() == 0
    assert times.max() == 86_399_999_999


def test_rows_grow_with_scale() -> None:
    """At 200 times the scale a day has 200 times the page views, in blocks of the stated size."""
    views, many_views = (
        [c.upserts.num_rows for c in Synthetic(scale=scale).changes(DAY) if c.table == "page_views"]
        for scale in (1, 200)
    )
    assert 0.98 * 200 * sum(views) < sum(many_views) < 1.02 * 200 * sum(views)
    assert len(many_views) > 1
    assert max(many_views) <= BLOCK_ROWS


def _peak_bytes(dataset: Synthetic, day: date) -> int:
    """The most memory in use while a day's blocks go by, each dropped before the next."""
    arrow_before = pa.total_allocated_bytes()
    peak = 0
    tracemalloc.start()
    for change in dataset.changes(day):
        assert change.upserts.num_rows <= BLOCK_ROWS
        arrow = pa.total_allocated_bytes() - arrow_before
        peak = max(peak, tracemalloc.get_traced_memory()[1] + arrow)
    tracemalloc.stop()
    return peak


def test_memory_is_bounded() -> None:
    """Four times the rows, over two million, take hardly more memory."""
    day = date(2025, 1, 3)
    smaller, larger = (_peak_bytes(Synthetic(scale=scale), day) for scale in (200, 800))
    assert larger < 1.5 * smaller
    assert larger < 60_000_000
