"""The oracle depends on its whole input: another history or data set gives other tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pyarrow as pa

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import DataInterval
from pipeline_verification.conformance.scripted_dataset import ScriptedDataset
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import Event, IntervalSucceeded
from pipeline_verification.oracle.source_state import SourceState
from support.small_shop import DAY_BY_DAY, SMALL_SHOP

Tables = dict[str, pa.Table]


def tables(history: Sequence[Event], dataset: ScriptedDataset = SMALL_SHOP) -> Tables:
    return expected_tables(SourceState(dataset), history)


def differing(left: Tables, right: Tables) -> set[str]:
    """The tables with different rows."""
    return {name for name in left if _rows(left[name]) != _rows(right[name])}


def _rows(table: pa.Table) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


def test_same_input_gives_the_same_tables() -> None:
    """Computing twice gives the same rows."""
    assert differing(tables(DAY_BY_DAY), tables(DAY_BY_DAY)) == set()


def test_every_event_counts() -> None:
    """Leaving out any event of the history is seen."""
    whole = tables(DAY_BY_DAY)
    for left_out in range(len(DAY_BY_DAY)):
        shorter = DAY_BY_DAY[:left_out] + DAY_BY_DAY[left_out + 1 :]
        assert differing(whole, tables(shorter)), DAY_BY_DAY[left_out]


def test_backfill_differs_from_day_by_day() -> None:
    """Extracting the first day only after the second changed its rows loads fewer of them."""
    backfill = sorted(DAY_BY_DAY, key=lambda event: isinstance(event, IntervalSucceeded))
    assert differing(tables(DAY_BY_DAY), tables(backfill)) == {
        "raw.customers",
        "raw.deleted_customers",
        "raw.loaded_intervals",
        "snapshots.snap_customers",
    }


def test_other_interval_is_seen() -> None:
    """An interval shorter by its last microsecond leaves out the row that changed in it."""
    first, second = (event for event in DAY_BY_DAY if isinstance(event, IntervalSucceeded))
    start = second.interval.start
    late = IntervalSucceeded(DataInterval(start + timedelta(microseconds=1), second.interval.end))
    history = [DAY_BY_DAY[0], first, DAY_BY_DAY[2], late]
    assert {"raw.orders", "marts.fct_orders", "marts.fct_page_views"} <= differing(
        tables(DAY_BY_DAY), tables(history)
    )


def test_other_data_set_is_seen() -> None:
    """With another seed every table with more than ids differs."""
    one, other = (
        expected_tables(SourceState(load_dataset("synthetic", seed=seed)), DAY_BY_DAY)
        for seed in (1, 2)
    )
    assert differing(one, other) >= {n for n in one if not n.startswith("raw.deleted_")}
