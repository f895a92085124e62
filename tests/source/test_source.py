"""What both source databases do alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, PAGE_VIEWS, TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import Source, TableChanges, connect

DAY = DataInterval.for_day(datetime(2025, 1, 2, tzinfo=UTC).date())
NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def customer(key: int, updated_at: datetime = NOON, name: str | None = "Ada") -> dict[str, Any]:
    return {
        "id": key,
        "email": None,
        "name": name,
        "country": "",
        "created_at": updated_at,
        "updated_at": updated_at,
    }


def view(session: str, url: str, viewed_at: datetime = NOON) -> dict[str, Any]:
    return {
        "session_id": session,
        "user_id": None,
        "page_url": url,
        "referrer_url": None,
        "duration_seconds": 0,
        "viewed_at": viewed_at,
        "updated_at": NOON,
    }


def put(source: Source, table: Table, *rows: Mapping[str, Any], delete: pa.Table = None) -> None:
    upserts = pa.Table.from_pylist(list(rows), schema=table.arrow_schema)
    with source.transaction():
        source.apply(TableChanges(table.name, upserts, delete))


def keys(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64())})


def read(source: Source, table: Table, interval: DataInterval = DAY) -> list[dict[str, Any]]:
    return rows_of(source.read_interval(table, interval))


def rows_of(batches: Iterator[pa.RecordBatch]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.to_pylist()]


def test_the_tables_have_the_contracts_columns(source: Source) -> None:
    """Each contract table is created with the contract's columns in order, and their types."""
    assert source.table_names() == {*(t.name for t in TABLES), "pipeline_source_state"}
    for table in TABLES:
        found = source.columns(table)
        assert [(c.name, c.type) for c in found.values()] == [
            (c.name, c.type) for c in table.columns
        ]


def test_creating_again_keeps_the_rows(source: Source) -> None:
    """``create_tables`` leaves existing tables as they are."""
    put(source, CUSTOMERS, customer(1))
    source.create_tables()
    assert read(source, CUSTOMERS) == [customer(1)]


def test_dropping_forgets_rows_and_position(source: Source) -> None:
    """``drop_tables`` removes the tables and the data set's position, also a second time."""
    with source.transaction():
        source.set_state({"dataset": "synthetic"})
    source.drop_tables()
    source.drop_tables()
    assert source.table_names() == set()
    assert source.state() == {}


def test_rows_come_back_in_the_exact_schema(source: Source) -> None:
    """``read_interval`` yields the contract's Arrow schema, also when there is no row."""
    put(source, CUSTOMERS, customer(1))
    batches = list(source.read_interval(CUSTOMERS, DAY))
    assert [batch.schema for batch in batches] == [CUSTOMERS.arrow_schema] * len(batches)
    assert rows_of(iter(batches)) == [customer(1)]
    assert all(batch.schema == ORDERS.arrow_schema for batch in source.read_interval(ORDERS, DAY))
    assert read(source, ORDERS) == []


def test_an_interval_is_half_open(source: Source) -> None:
    """A row at the start is in the interval, one at the end in the next, to the microsecond."""
    moments = [DAY.start - MICROSECOND, DAY.start, DAY.end - MICROSECOND, DAY.end]
    put(source, CUSTOMERS, *(customer(i, moment) for i, moment in enumerate(moments)))
    assert [row["id"] for row in read(source, CUSTOMERS)] == [1, 2]
    following = DataInterval(DAY.end, DAY.end + timedelta(days=1))
    assert [row["id"] for row in read(source, CUSTOMERS, following)] == [3]


def test_rows_are_ordered_by_time_then_key(source: Source) -> None:
    """An interval's rows are ordered by ``updated_at``, those of one moment by key."""
    put(source, CUSTOMERS, customer(10), customer(9), customer(11, DAY.start), customer(-1))
    assert [row["id"] for row in read(source, CUSTOMERS)] == [11, -1, 9, 10]


def test_text_keys_are_ordered_by_their_bytes(source: Source) -> None:
    """Text compares as UTF-8 bytes, whatever the database's language."""
    expected = [
        view("", "z"),
        view("A", "/b"),
        view("a", "/"),
        view("a", "/a", NOON),
        view("a", "/a", NOON + MICROSECOND),
        view("a", "/B".lower()),
        view("é", "/"),
        view("\uffee", "/"),
        view("😀", "/"),
    ]
    put(source, PAGE_VIEWS, *reversed(expected))
    assert read(source, PAGE_VIEWS) == expected
    names = (*PAGE_VIEWS.key, "updated_at")
    assert rows_of(source.read_keys(PAGE_VIEWS)) == [{n: row[n] for n in names} for row in expected]


def test_an_upsert_replaces_by_key(source: Source) -> None:
    """Applying rows inserts new keys and replaces the whole row of an existing one."""
    put(source, CUSTOMERS, customer(1), customer(2))
    put(source, CUSTOMERS, customer(2, name=None), customer(3))
    assert read(source, CUSTOMERS) == [customer(1), customer(2, name=None), customer(3)]


def test_deleted_keys_are_gone(source: Source) -> None:
    """Deletions come before the upserts of the same changes; unknown keys do no harm."""
    put(source, CUSTOMERS, customer(1), customer(2), customer(3))
    put(source, CUSTOMERS, customer(2, name="again"), delete=keys(1, 2, 99))
    assert read(source, CUSTOMERS) == [customer(2, name="again"), customer(3)]
    assert [row["id"] for row in rows_of(source.read_keys(CUSTOMERS))] == [2, 3]
    assert source.count_rows(CUSTOMERS) == 2


def test_a_failed_transaction_leaves_nothing(source: Source) -> None:
    """When the block raises, rows and position are as they were before it."""
    put(source, CUSTOMERS, customer(1))

    def change_and_fail() -> None:
        with source.transaction():
            source.set_state({"advanced_to": "2025-01-02"})
            upserts = pa.Table.from_pylist([customer(2)], schema=CUSTOMERS.arrow_schema)
            source.apply(TableChanges("customers", upserts, keys(1)))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        change_and_fail()
    assert read(source, CUSTOMERS) == [customer(1)]
    assert source.state() == {}


def test_the_state_is_replaced_as_a_whole(source: Source) -> None:
    """``state`` gives what the last ``set_state`` stored, and nothing older."""
    for state in ({"a": "1", "b": "'quoted'"}, {"b": "😀"}):
        with source.transaction():
            source.set_state(state)
        assert source.state() == state


def test_a_database_without_our_tables_has_no_state(url: str) -> None:
    """A foreign database's state is empty, and its missing table is named."""
    with closing(connect(url)) as empty:
        empty.create_tables()
        empty.drop_tables()
        assert empty.state() == {}
        for action in (
            lambda: empty.columns(ORDERS),
            lambda: list(empty.read_interval(ORDERS, DAY)),
        ):
            with pytest.raises(PipelineError, match="orders"):
                action()
        with pytest.raises(PipelineError, match="customers"):
            empty.newest_update(NOON)


def test_the_newest_update_is_of_any_table(source: Source) -> None:
    """``newest_update`` is the latest ``updated_at`` before the moment, over all tables."""
    assert source.newest_update(NOON) is None
    put(source, CUSTOMERS, customer(1, NOON - MICROSECOND), customer(2, NOON + MICROSECOND))
    put(source, PAGE_VIEWS, view("s", "/"))
    assert source.newest_update(NOON) == NOON - MICROSECOND
    assert source.newest_update(NOON + MICROSECOND) == NOON
    newest = source.newest_update(NOON + 2 * MICROSECOND)
    assert newest == NOON + MICROSECOND
    assert newest.utcoffset() == timedelta(0)


def test_reads_of_one_transaction_see_one_state(source: Source, url: str) -> None:
    """What another session commits in between is not seen until the transaction ends."""
    put(source, CUSTOMERS, customer(1))
    with closing(connect(url)) as other:
        with source.transaction():
            before = read(source, CUSTOMERS)
            put(other, CUSTOMERS, customer(2), delete=keys(1))
            assert read(source, CUSTOMERS) == before == [customer(1)]
            assert [row["id"] for row in rows_of(source.read_keys(CUSTOMERS))] == [1]
            assert source.count_rows(CUSTOMERS) == 1
        assert read(source, CUSTOMERS) == [customer(2)]


def test_large_reads_come_in_pieces(source: Source) -> None:
    """Rows beyond one batch arrive in several, none lost and none twice."""
    count = 60_000
    time = pa.array([NOON] * count, pa.timestamp("us", tz="UTC"))
    text = pa.array([f"name {i}" for i in range(count)])
    ids = pa.array(range(count), pa.int64())
    rows = pa.table([ids, text, text, text, time, time], schema=CUSTOMERS.arrow_schema)
    with source.transaction():
        source.apply(TableChanges("customers", rows))
    batches = list(source.read_interval(CUSTOMERS, DAY))
    assert len(batches) > 1
    assert pa.Table.from_batches(batches).equals(rows)
