"""The incremental mart equals a full refresh, whatever order its rows arrived in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from support.raw_warehouse import Row, Shop

START = datetime(2025, 1, 1, tzinfo=UTC)
ALL = "FROM marts.fct_page_views ORDER BY ALL"

page_views = st.builds(
    lambda session, viewed, updated, user, referrer, duration: {
        "session_id": session,
        "page_url": "/",
        "viewed_at": START + timedelta(hours=viewed),
        "updated_at": START + timedelta(hours=updated),
        "user_id": user,
        "referrer_url": referrer,
        "duration_seconds": duration,
    },
    st.sampled_from(["s1", "s2"]),
    st.integers(0, 1),
    st.integers(0, 99),
    st.none() | st.integers(0, 1),
    st.sampled_from([None, "", "/a"]),
    st.none() | st.integers(0, 1),
)


def build(shop: Shop, *flags: str) -> list[tuple[Any, ...]]:
    """Build the mart alone and return its rows."""
    command = ["run", "--select", "fct_page_views", "--no-write-json", *flags]
    assert shop.dbt(*command).success
    return shop.query(ALL)


@settings(
    max_examples=5,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink would take minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batches=st.lists(st.lists(page_views, max_size=10), min_size=1, max_size=3))
def test_incremental_equals_full_refresh(shop: Shop, batches: list[list[Row]]) -> None:
    """After any batches of new, late and corrected rows the mart is what a full refresh makes."""
    shop.execute("DELETE FROM raw.page_views; DROP TABLE IF EXISTS marts.fct_page_views")
    for batch in batches:
        shop.load("page_views", *batch)
        incremental = build(shop)
    assert incremental == build(shop, "--full-refresh")
    assert len(incremental) == len(shop.query("FROM raw.page_views"))


def test_a_correction_whose_run_failed_is_taken_by_the_next(shop: Shop) -> None:
    """A correction that was loaded by an interval whose marts never ran is not lost."""
    shop.load("page_views", {"session_id": "s", "duration_seconds": 1})
    shop.loaded("2025-01-01")
    shop.build("2025-01-01")
    shop.load("page_views", {"session_id": "s", "duration_seconds": 2})
    shop.loaded("2025-01-02")
    shop.loaded("2025-01-03")
    shop.build("2025-01-03")
    assert shop.query("SELECT duration_seconds FROM marts.fct_page_views") == [(2,)]


def test_an_unchanged_page_view_is_left_alone(shop: Shop) -> None:
    """Running again rewrites no row."""
    shop.load("page_views", {"session_id": "a"}, {"session_id": "b"})
    shop.loaded()
    shop.build()
    rows = "SELECT rowid, * FROM marts.fct_page_views ORDER BY ALL"
    before = shop.query(rows)
    shop.build()
    assert shop.query(rows) == before


def test_a_deleted_page_view_leaves_the_mart(shop: Shop) -> None:
    """A page view that the source has deleted is removed; one that returns is back."""
    for session in ("kept", "gone"):
        shop.load("page_views", {"session_id": session})
    shop.loaded("2025-01-01")
    shop.build("2025-01-01")
    shop.execute(
        "INSERT INTO raw.deleted_page_views SELECT session_id, page_url, viewed_at"
        " FROM raw.page_views WHERE session_id = 'gone'"
    )
    shop.build("2025-01-01")
    sessions = "SELECT session_id FROM marts.fct_page_views ORDER BY ALL"
    assert shop.query(sessions) == [("kept",)]
    shop.execute("DELETE FROM raw.deleted_page_views")
    shop.build("2025-01-01")
    assert shop.query(sessions) == [("gone",), ("kept",)]
