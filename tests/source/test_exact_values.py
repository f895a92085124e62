"""Any value that the contract allows comes back from both databases as it went in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ecommerce_pipeline.contract import PAGE_VIEWS, PRODUCTS, Table
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import Source, TableChanges, connect

EVERYTHING = DataInterval(datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))
NASTY = ("", " ", "\\.", "a\n\\.\nb", "\\N", "NULL", '"', '""', "'", ",", "\r\n", "\t", "\ufeff")

integers = st.integers(-(2**63), 2**63 - 1)
texts = st.sampled_from(NASTY) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)
times = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 (hypothesis takes naive bounds)
products = st.fixed_dictionaries(
    {
        "id": integers,
        "sku": texts,
        "name": st.none() | texts,
        "category": st.none() | texts,
        "price_cents": integers,
        "created_at": times,
        "updated_at": times,
    }
)
views = st.fixed_dictionaries(
    {
        "session_id": texts,
        "user_id": st.none() | integers,
        "page_url": texts,
        "referrer_url": st.none() | texts,
        "duration_seconds": st.none() | integers,
        "viewed_at": times,
        "updated_at": times,
    }
)
EXTREMES = {
    "id": -(2**63),
    "sku": "a\n\\.\nb",
    "name": "",
    "category": None,
    "price_cents": 2**63 - 1,
    "created_at": datetime(1, 1, 1, tzinfo=UTC),
    "updated_at": datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC),
}


@pytest.fixture
def source(url: str) -> Iterator[Source]:
    with closing(connect(url)) as opened:
        yield opened


def round_trip(source: Source, table: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    source.drop_tables()
    source.create_tables()
    with source.transaction():
        source.apply(
            TableChanges(table.name, pa.Table.from_pylist(rows, schema=table.arrow_schema))
        )
    return [row for batch in source.read_interval(table, EVERYTHING) for row in batch.to_pylist()]


def in_order(table: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        key = (row[name] for name in table.key)
        return (
            row["updated_at"],
            *(value.encode() if isinstance(value, str) else value for value in key),
        )

    return sorted(rows, key=place)


quick = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # each example makes new tables
)


@quick
@given(st.lists(products, min_size=1, unique_by=lambda row: row["id"]))
@example([EXTREMES])
def test_products_come_back_exactly(source: Source, rows: list[dict[str, Any]]) -> None:
    """Text, NULL apart from empty text, 64-bit integers and microseconds are kept, in order."""
    assert round_trip(source, PRODUCTS, rows) == in_order(PRODUCTS, rows)


@quick
@given(
    st.lists(
        views,
        min_size=1,
        unique_by=lambda row: (row["session_id"], row["page_url"], row["viewed_at"]),
    )
)
def test_page_views_come_back_exactly(source: Source, rows: list[dict[str, Any]]) -> None:
    """The same is true of nullable integers and for keys of text and time."""
    assert round_trip(source, PAGE_VIEWS, rows) == in_order(PAGE_VIEWS, rows)


def test_a_time_before_1970_keeps_its_microseconds(source: Source) -> None:
    """Times before 1970 are not rounded towards it."""
    moment = datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    rows = [{**EXTREMES, "created_at": moment, "updated_at": moment - timedelta(days=400_000)}]
    assert round_trip(source, PRODUCTS, rows) == rows
