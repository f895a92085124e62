"""The oracle's snapshot of the customers."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from ecommerce_pipeline.interval import DAY, DataInterval
from pipeline_verification.conformance.scripted_dataset import Row, changes
from pipeline_verification.oracle.keys import version_id
from pipeline_verification.oracle.snapshot import CustomerVersions
from pipeline_verification.oracle.source_state import frame


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2025, 1, day, hour, tzinfo=UTC)


def versions(*seen: tuple[datetime, list[Row]]) -> list[tuple[Any, ...]]:
    """Each version's customer, name, start and end after the customers were seen so."""
    history = CustomerVersions()
    for moment, customers in seen:
        day = DataInterval.for_day(moment.date() - DAY)
        history.record(frame(changes("customers", *customers).upserts), day)
    rows = history.snap_customers().select(
        ["customer_id", "name", "dbt_valid_from", "dbt_valid_to"]
    )
    return sorted(tuple(row.values()) for row in rows.to_pylist())


ANN: Row = {"id": 1, "name": "Ann", "updated_at": at(1, 9)}
ANNA: Row = {"id": 1, "name": "Anna", "updated_at": at(2, 9)}
BEN: Row = {"id": 2, "name": "Ben", "updated_at": at(1, 8)}


def test_first_sight_opens_a_version() -> None:
    """A customer's first version is valid from its updated_at and has no end."""
    assert versions((at(2), [ANN])) == [(1, "Ann", at(1, 9), None)]


def test_unchanged_customer_keeps_its_version() -> None:
    """Seeing the same row again records nothing."""
    assert versions((at(2), [ANN]), (at(3), [ANN])) == [(1, "Ann", at(1, 9), None)]


def test_change_closes_the_version_before() -> None:
    """A newer row ends the version before it at its own updated_at."""
    assert versions((at(2), [ANN]), (at(3), [ANNA])) == [
        (1, "Ann", at(1, 9), at(2, 9)),
        (1, "Anna", at(2, 9), None),
    ]


def test_deletion_closes_at_the_moment_it_was_seen() -> None:
    """The version of a customer that is gone ends when that was seen; others go on."""
    assert versions((at(2), [ANN, BEN]), (at(3), [ANN])) == [
        (1, "Ann", at(1, 9), None),
        (2, "Ben", at(1, 8), at(3)),
    ]


def test_return_opens_a_new_version() -> None:
    """A customer that comes back after a deletion has a new version from its updated_at."""
    assert versions((at(2), [ANN]), (at(3), []), (at(4), [{**ANNA, "updated_at": at(3, 5)}])) == [
        (1, "Ann", at(1, 9), at(3)),
        (1, "Anna", at(3, 5), None),
    ]


def test_an_unchanged_return_is_valid_from_its_interval() -> None:
    """A deleted customer who is back unchanged has a new version from that interval's start."""
    assert versions((at(2), [ANN]), (at(3), []), (at(5), [ANN])) == [
        (1, "Ann", at(1, 9), at(3)),
        (1, "Ann", at(4), None),
    ]


def test_the_same_interval_again_undoes_a_deletion() -> None:
    """When a repeated run of the newest interval finds the customer, no deletion is recorded."""
    assert versions((at(2), [ANN]), (at(3), []), (at(3), [ANN])) == [(1, "Ann", at(1, 9), None)]


def test_a_correction_without_a_new_time_replaces_the_version() -> None:
    """A row that changed without a new updated_at makes no new version."""
    corrected = {**ANN, "name": "Anne"}
    assert versions((at(2), [ANN]), (at(2), [corrected])) == [(1, "Anne", at(1, 9), None)]


def test_whole_version() -> None:
    """A version has the customer's columns, its key, and its times."""
    history = CustomerVersions()
    history.record(
        frame(changes("customers", {**ANN, "email": "", "created_at": at(1)}).upserts),
        DataInterval.for_day(date(2025, 1, 1)),
    )
    assert history.snap_customers().to_pylist() == [
        {
            "customer_id": 1,
            "email": "",
            "name": "Ann",
            "country": None,
            "created_at": at(1),
            "updated_at": at(1, 9),
            "dbt_scd_id": version_id(1, at(1, 9)),
            "dbt_updated_at": at(1, 9),
            "dbt_valid_from": at(1, 9),
            "dbt_valid_to": None,
        }
    ]


def test_no_customer_was_ever_seen() -> None:
    """Before the first run there is no version."""
    assert versions() == []
