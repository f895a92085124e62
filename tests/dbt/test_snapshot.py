"""The customers' history depends on the logical time, never on the clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ecommerce_pipeline import steps
from support.raw_warehouse import Shop

VERSIONS = """
    SELECT customer_id, name, dbt_valid_from, dbt_valid_to
    FROM snapshots.snap_customers ORDER BY ALL
"""


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2025, 1, number, hour, tzinfo=UTC)


def take(shop: Shop, interval: str, *, present: tuple[int, ...]) -> None:
    """Load an interval at whose end the source had the given customers, and snapshot it."""
    shop.loaded(interval, customers=present)
    steps.resolve("dbt_snapshot")(shop.context(interval))


def live_three_days(shop: Shop) -> None:
    """Customer 1 changes on the second day, customer 2 is deleted on the third."""
    shop.load("customers", {"id": 1, "name": "Ada", "updated_at": day(1, 9)})
    shop.load("customers", {"id": 2, "name": "Bob", "updated_at": day(1, 10)})
    take(shop, "2025-01-01", present=(1, 2))
    shop.load("customers", {"id": 1, "name": "Ada Lovelace", "updated_at": day(2, 9)})
    take(shop, "2025-01-02", present=(1, 2))
    take(shop, "2025-01-03", present=(1,))


def everything(shop: Shop) -> list[tuple[Any, ...]]:
    return shop.query("FROM snapshots.snap_customers ORDER BY ALL")


def test_versions_follow_one_another(shop: Shop) -> None:
    """A version ends where the next begins; a deleted customer's ends at the interval's end."""
    live_three_days(shop)
    assert shop.query(VERSIONS) == [
        (1, "Ada", day(1, 9), day(2, 9)),
        (1, "Ada Lovelace", day(2, 9), None),
        (2, "Bob", day(1, 10), day(4)),
    ]
    steps.resolve("dbt_run_marts")(shop.context())
    steps.resolve("dbt_test_marts")(shop.context())


def test_the_clock_does_not_matter(shop: Shop) -> None:
    """The same history at another time gives the same rows, dbt's own columns included."""
    live_three_days(shop)
    first = everything(shop)
    shop.execute("DELETE FROM raw.customers; DELETE FROM raw.loaded_intervals")
    shop.execute("DROP TABLE snapshots.snap_customers")
    live_three_days(shop)
    assert everything(shop) == first


def test_an_old_interval_again_changes_nothing(shop: Shop) -> None:
    """Running an interval again, even an old one, leaves the history as it is."""
    live_three_days(shop)
    before = everything(shop)
    steps.resolve("dbt_snapshot")(shop.context("2025-01-03"))
    steps.resolve("dbt_snapshot")(shop.context("2025-01-01"))
    assert everything(shop) == before


def test_a_deletion_seen_late_is_closed_at_the_newest_interval(shop: Shop) -> None:
    """Time never goes back: a snapshot for an old interval closes at the newest loaded end."""
    shop.load("customers", {"id": 1, "updated_at": day(1)})
    take(shop, "2025-01-05", present=(1,))
    take(shop, "2025-01-02", present=())
    assert shop.query("SELECT dbt_valid_to FROM snapshots.snap_customers") == [(day(6),)]


def check_marts(shop: Shop) -> None:
    """Build the marts and run their tests, which include those of the history."""
    steps.resolve("dbt_run_marts")(shop.context())
    steps.resolve("dbt_test_marts")(shop.context())


def test_a_customer_back_unchanged_is_valid_from_the_return(shop: Shop) -> None:
    """A deleted customer who is back with an old updated_at has a version from that interval."""
    live_three_days(shop)
    take(shop, "2025-01-05", present=(1, 2))
    expected = [(2, "Bob", day(1, 10), day(4)), (2, "Bob", day(5), None)]
    assert shop.query(VERSIONS)[2:] == expected
    take(shop, "2025-01-05", present=(1, 2))
    assert shop.query(VERSIONS)[2:] == expected
    check_marts(shop)


def test_a_customer_who_returned_changes_and_goes_again(shop: Shop) -> None:
    """After a return, changes and deletions are recorded as before it."""
    live_three_days(shop)
    take(shop, "2025-01-04", present=(1, 2))
    shop.load("customers", {"id": 2, "name": "Bobby", "updated_at": day(5, 3)})
    take(shop, "2025-01-05", present=(1, 2))
    take(shop, "2025-01-06", present=(1,))
    take(shop, "2025-01-07", present=(1, 2))
    assert shop.query(VERSIONS)[2:] == [
        (2, "Bob", day(1, 10), day(4)),
        (2, "Bob", day(4), day(5, 3)),
        (2, "Bobby", day(5, 3), day(7)),
        (2, "Bobby", day(7), None),
    ]
    check_marts(shop)


def test_the_newest_interval_again_undoes_a_deletion(shop: Shop) -> None:
    """When a repeated run finds the customer again, no deletion stays recorded, however often."""
    live_three_days(shop)
    before = everything(shop)
    take(shop, "2025-01-03", present=(1, 2))
    assert shop.query(VERSIONS)[2:] == [(2, "Bob", day(1, 10), None)]
    take(shop, "2025-01-03", present=(1,))
    assert everything(shop) == before


def test_a_correction_without_a_new_time_is_in_the_history(shop: Shop) -> None:
    """A row that the source corrected without a new updated_at replaces its version's values."""
    live_three_days(shop)
    shop.load("customers", {"id": 1, "name": "Ada King", "updated_at": day(2, 9)})
    take(shop, "2025-01-03", present=(1,))
    assert shop.query(VERSIONS)[:2] == [
        (1, "Ada", day(1, 9), day(2, 9)),
        (1, "Ada King", day(2, 9), None),
    ]
    check_marts(shop)


def test_a_late_change_from_before_the_return_is_in_the_history(shop: Shop) -> None:
    """A change that is older than the return replaces the values of the version since then."""
    live_three_days(shop)
    take(shop, "2025-01-04", present=(1, 2))
    shop.load("customers", {"id": 2, "name": "Bobby", "updated_at": day(3, 3)})
    take(shop, "2025-01-04", present=(1, 2))
    assert shop.query(VERSIONS)[2:] == [
        (2, "Bob", day(1, 10), day(4)),
        (2, "Bobby", day(4), None),
    ]
    check_marts(shop)


def test_a_customer_back_with_a_new_change_has_a_gap(shop: Shop) -> None:
    """A deleted customer who is back with a new updated_at is valid again from then."""
    live_three_days(shop)
    shop.load("customers", {"id": 2, "name": "Bob", "updated_at": day(6, 9)})
    take(shop, "2025-01-06", present=(1, 2))
    assert shop.query(VERSIONS)[2:] == [
        (2, "Bob", day(1, 10), day(4)),
        (2, "Bob", day(6, 9), None),
    ]
    steps.resolve("dbt_run_marts")(shop.context())
    steps.resolve("dbt_test_marts")(shop.context())
