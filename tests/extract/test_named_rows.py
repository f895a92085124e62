"""A value that cannot be read is reported with its table, its column and the row's key."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, PAGE_VIEWS, PRODUCTS, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import connect
from support.foreign_source import create, execute, failure, insert

DAY = DataInterval.parse("2025-01-02")


@pytest.fixture
def bytes_url(request: pytest.FixtureRequest, url: str, server_url: str) -> str:
    """A database that takes text of any bytes: SQLite does, PostgreSQL without an encoding."""
    if url.startswith("sqlite"):
        return url
    execute(
        server_url,
        "DROP DATABASE IF EXISTS any_bytes",
        "CREATE DATABASE any_bytes ENCODING 'SQL_ASCII' TEMPLATE template0",
    )
    return server_url.removesuffix("/postgres") + "/any_bytes"


def text_of(url: str, hexadecimal: str) -> str:
    """SQL for text of these bytes."""
    if url.startswith("sqlite"):
        return f"CAST(x'{hexadecimal}' AS TEXT)"
    escapes = "".join(f"\\x{hexadecimal[i : i + 2]}" for i in range(0, len(hexadecimal), 2))
    return f"E'{escapes}'"


def test_text_that_is_not_utf8_is_named(bytes_url: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 are reported by table, column, bytes and key."""
    create(bytes_url)
    insert(bytes_url, CUSTOMERS)
    insert(bytes_url, CUSTOMERS, id="2", name=text_of(bytes_url, "5a6fc3ab"))
    insert(bytes_url, CUSTOMERS, id="7", name=text_of(bytes_url, "5a6feb"))
    error = failure(bytes_url, tmp_path, CUSTOMERS)
    assert error.message == (
        "customers.name holds b'Zo\\xeb', which is not text in UTF-8, in the row with id=7"
    )
    assert error.hint == "correct that row in the source"


def test_a_key_that_is_not_utf8_is_named(bytes_url: str, tmp_path: Path) -> None:
    """Where the key itself cannot be read, its bytes are shown."""
    create(bytes_url)
    insert(bytes_url, PAGE_VIEWS)
    insert(bytes_url, PAGE_VIEWS, session_id=text_of(bytes_url, "ff"))
    message = failure(bytes_url, tmp_path, PAGE_VIEWS).message
    assert message.startswith(
        "page_views.session_id holds b'\\xff', which is not text in UTF-8,"
        " in the row with session_id=b'\\xff', page_url='a', viewed_at="
    )


def test_text_in_utf8_is_kept_without_an_encoding(bytes_url: str, tmp_path: Path) -> None:
    """Where the database checks no bytes, those that are UTF-8 are read as such."""
    create(bytes_url)
    insert(bytes_url, CUSTOMERS, name=text_of(bytes_url, "5a6fc3ab"))
    with closing(connect(bytes_url)) as source:
        (batch,) = source.read_interval(CUSTOMERS, DAY)
    assert batch["name"].to_pylist() == ["Zoë"]


def test_a_time_column_of_other_bytes_is_named(sqlite_url: str, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 in a column of text times are reported as well."""
    create(sqlite_url, time_type="TEXT")
    insert(sqlite_url, ORDERS, noon="'2025-01-02T12:00:00Z'", updated_at="CAST(x'ff' AS TEXT)")
    assert failure(sqlite_url, tmp_path, ORDERS).message == (
        "orders.updated_at holds b'\\xff', which is not text in UTF-8, in the row with id=1"
    )


@pytest.mark.parametrize(
    ("table", "column"),
    [(PRODUCTS, "price_cents"), (ORDERS, "created_at")],
    ids=lambda value: getattr(value, "name", value),
)
def test_null_is_named(url: str, tmp_path: Path, table: Table, column: str) -> None:
    """NULL where the contract forbids it is reported by column and key."""
    create(url)
    insert(url, table, id="7")
    insert(url, table, **{column: "NULL"})
    assert failure(url, tmp_path, table).message == (
        f"{table.name}.{column} holds NULL, which the contract forbids, in the row with id=1"
    )


@pytest.mark.parametrize("value", ["'infinity'", "'-infinity'", "'294276-12-31'"])
def test_an_endless_time_is_named(postgres_url: str, tmp_path: Path, value: str) -> None:
    """A time that Arrow cannot hold is reported by column and key, itself where it is in it."""
    create(postgres_url)
    for table in (ORDERS, PAGE_VIEWS):
        insert(postgres_url, table)
    insert(postgres_url, ORDERS, id="7", created_at=value)
    assert failure(postgres_url, tmp_path, ORDERS).message == (
        "orders.created_at holds an infinite time or one past the year 294246, in the row with id=7"
    )
    insert(postgres_url, PAGE_VIEWS, session_id="'b'", viewed_at=value)
    assert failure(postgres_url, tmp_path, PAGE_VIEWS).message.startswith(
        "page_views.viewed_at holds an infinite time or one past the year 294246,"
        " in the row with session_id='b', page_url='a'"
    )


@pytest.mark.parametrize("value", ["9223372036854775807", "-9223372036854775808"])
def test_an_endless_time_in_sqlite_is_named(sqlite_url: str, tmp_path: Path, value: str) -> None:
    """An integer that the warehouse would read as an infinite time is reported by its row."""
    create(sqlite_url)
    insert(sqlite_url, ORDERS)
    insert(sqlite_url, ORDERS, id="7", created_at=value)
    assert failure(sqlite_url, tmp_path, ORDERS).message == (
        "orders.created_at holds an infinite time, in the row with id=7"
    )


def test_the_keys_of_a_wrong_row_are_those_read(sqlite_url: str) -> None:
    """Where only keys are read, the row is named by the key columns' own values."""
    create(sqlite_url)
    insert(sqlite_url, PAGE_VIEWS, page_url="x'00'", viewed_at="5")
    with closing(connect(sqlite_url)) as source, pytest.raises(PipelineError) as caught:
        list(source.read_keys(PAGE_VIEWS))
    assert caught.value.message == (
        "page_views.page_url holds b'\\x00', not text,"
        " in the row with session_id='a', page_url=b'\\x00', viewed_at=5"
    )


@pytest.mark.parametrize(("table", "column"), [(CUSTOMERS, "id"), (PAGE_VIEWS, "page_url")])
def test_rows_without_a_key_are_named(url: str, tmp_path: Path, table: Table, column: str) -> None:
    """NULL in a key is refused also in a row of another interval, whose key is read as well."""
    create(url)
    insert(url, table, **{column: "NULL", "updated_at": "0" if "sqlite" in url else "'epoch'"})
    message = failure(url, tmp_path, table).message
    assert message.startswith(f"{table.name}.{column} is NULL, in the row with ")
