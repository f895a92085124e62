"""The texts that the keys are hashes of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import md5

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_verification.oracle.keys import page_view_id, version_id

EIGHT = datetime(2025, 1, 1, 8, tzinfo=UTC)


def hashed(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def test_page_view_id() -> None:
    """Each part follows its length in characters, not bytes."""
    assert page_view_id("s1", "/", EIGHT) == hashed("2:s11:/26:2025-01-01 08:00:00.000000")
    assert page_view_id("☕", "", EIGHT) == hashed("1:☕0:26:2025-01-01 08:00:00.000000")


@given(st.text(), st.text(), st.text(), st.text())
def test_page_view_ids_never_collide(a: str, b: str, c: str, d: str) -> None:
    """Different parts have different keys, whatever separators they contain."""
    assert (page_view_id(a, b, EIGHT) == page_view_id(c, d, EIGHT)) == ((a, b) == (c, d))


@pytest.mark.parametrize("microseconds", [0, 1, 500_000, 120_000])
def test_version_id(microseconds: int) -> None:
    """A version's key contains the time as DuckDB writes it in UTC."""
    moment = EIGHT + timedelta(microseconds=microseconds)
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        [(text,)] = connection.execute("SELECT CAST(? AS VARCHAR)", [moment]).fetchall()
    assert version_id(7, moment) == hashed(f"7|{text}")


def test_version_id_by_hand() -> None:
    """A fraction of a second loses its last zeros."""
    assert version_id(7, EIGHT) == hashed("7|2025-01-01 08:00:00+00")
    assert version_id(7, EIGHT.replace(microsecond=500_000)) == hashed("7|2025-01-01 08:00:00.5+00")
