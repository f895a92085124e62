"""The rows that the oracle expects after loading, on cases small enough to check by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce_pipeline.interval import DataInterval
from pipeline_verification.conformance.scripted_dataset import ScriptedDataset, changes
from pipeline_verification.oracle.history import Event, IntervalSucceeded, SourceAdvanced
from pipeline_verification.oracle.replay import Replay, replay
from pipeline_verification.oracle.source_state import SourceState

FIRST, SECOND, THIRD = (date(2025, 1, day) for day in (1, 2, 3))


def at(day: date, hour: int = 0, microsecond: int = 0) -> datetime:
    return datetime(day.year, day.month, day.day, hour, 0, 0, microsecond, UTC)


def advance(day: date) -> Event:
    return SourceAdvanced(day)


def run(day: date) -> Event:
    return IntervalSucceeded(DataInterval.for_day(day))


DATASET = ScriptedDataset(
    {
        FIRST: [
            changes(
                "customers",
                {"id": 1, "name": "Ann", "updated_at": at(FIRST)},
                {"id": 2, "name": "Ben", "updated_at": at(FIRST, 5)},
            ),
            changes("orders", {"id": 7, "status": "pending", "updated_at": at(FIRST, 23)}),
        ],
        SECOND: [
            changes("customers", {"id": 1, "name": "Anna", "updated_at": at(SECOND)}),
            changes("orders", {"id": 7, "status": "shipped", "updated_at": at(SECOND, 1)}),
        ],
        THIRD: [
            changes("customers", deleted=[{"id": 2}]),
            changes("orders", deleted=[{"id": 7}]),
        ],
    }
)
DAILY = [advance(FIRST), run(FIRST), advance(SECOND), run(SECOND), advance(THIRD), run(THIRD)]


def replayed(*events: Event) -> Replay:
    return replay(SourceState(DATASET), events)


def names(result: Replay) -> dict[int, str]:
    customers = result.raw["customers"]
    return dict(zip(customers["id"], customers["name"], strict=True))


def test_newest_row_wins() -> None:
    """Of two versions of a row that were loaded, the one with the newer updated_at stays."""
    assert names(replayed(*DAILY)) == {1: "Anna", 2: "Ben"}


def test_interval_is_half_open() -> None:
    """A row changed at the very end of an interval belongs to the next one only."""
    assert names(replayed(advance(SECOND), run(FIRST))) == {2: "Ben"}
    assert names(replayed(advance(SECOND), run(SECOND))) == {1: "Anna"}


def test_extraction_sees_the_source_as_it_stands() -> None:
    """A row that changed again before its interval was extracted is no longer in that interval."""
    late = replayed(advance(SECOND), run(FIRST))
    assert late.loaded["orders", DataInterval.for_day(FIRST)] == 0
    assert replayed(*DAILY).loaded["orders", DataInterval.for_day(FIRST)] == 1


def test_deleted_rows_stay_loaded_and_are_not_present() -> None:
    """A row that the newest interval's extraction did not find is gone, though loaded."""
    result = replayed(*DAILY)
    assert result.raw["orders"]["status"].to_list() == ["shipped"]
    assert result.present("orders").empty
    assert result.deleted("orders")["id"].to_list() == [7]
    assert result.present("customers")["id"].to_list() == [1]
    assert names(result) == {1: "Anna", 2: "Ben"}


def test_older_interval_does_not_change_who_is_present() -> None:
    """An older interval that runs after a newer one leaves the newer one's key snapshot."""
    result = replayed(advance(SECOND), run(SECOND), advance(THIRD), run(FIRST))
    assert result.deleted_keys["customers"] == set()
    assert result.newest == DataInterval.for_day(SECOND)


def test_older_interval_brings_rows_that_the_source_has_again() -> None:
    """A row in an older interval's later extraction is present, whatever the newest one saw."""
    dataset = ScriptedDataset(
        {
            FIRST: [changes("orders", {"id": 7, "updated_at": at(FIRST)})],
            SECOND: [changes("orders", deleted=[{"id": 7}])],
            THIRD: [changes("orders", {"id": 7, "updated_at": at(FIRST)})],
        }
    )
    events = [advance(FIRST), run(FIRST), advance(SECOND), run(SECOND)]
    assert replay(SourceState(dataset), events).present("orders").empty
    later = [*events, advance(THIRD), run(FIRST)]
    assert replay(SourceState(dataset), later).present("orders")["id"].to_list() == [7]


def test_repeated_interval_looks_again_at_who_is_present() -> None:
    """When the newest interval runs again, the customers are those of its latest extraction."""
    events = (advance(SECOND), run(FIRST), run(SECOND), advance(THIRD), run(SECOND))
    assert replayed(*events).deleted_keys["customers"] == {(2,)}


@settings(max_examples=20)
@given(st.permutations([run(FIRST), run(SECOND), run(THIRD), run(FIRST)]))
def test_order_of_intervals_is_irrelevant(events: list[Event]) -> None:
    """While the source does not change, intervals in any order, also repeated, load the same."""
    expected = replayed(advance(SECOND), run(FIRST), run(SECOND), run(THIRD))
    result = replayed(advance(SECOND), *events)
    assert names(result) == names(expected)
    assert result.deleted_keys == expected.deleted_keys
    assert result.loaded == expected.loaded


def test_no_event_leaves_nothing() -> None:
    """Before the first run every table is empty."""
    result = replayed()
    assert all(rows.empty for rows in result.raw.values())
    assert result.present("customers").empty


def test_source_without_data_set_cannot_advance() -> None:
    """An existing database has no days to advance to."""
    with pytest.raises(ValueError, match="cannot advance"):
        SourceState(None).advance(FIRST)
