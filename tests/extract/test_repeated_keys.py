"""A key in two rows of a source table is refused, wherever its rows lie in time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, PAGE_VIEWS, TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source import connect
from ecommerce_pipeline.steps.extract import extract_table
from support.foreign_source import create, execute, insert

DAY = DataInterval.parse("2025-01-02")


def extract(url: str, folder: Path, table: Table) -> int:
    """The number of rows of the day."""
    return extract_table(StepContext(RunDirectory(folder), DAY, url), table).rows[table.name]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_key_in_two_rows_is_refused(url: str, tmp_path: Path, table: Table) -> None:
    """Two rows of one key are refused by the key, though only one of them is in the interval."""
    create(url)
    insert(url, table)
    insert(url, table, updated_at="0" if url.startswith("sqlite") else "'1970-01-01 00:00Z'")
    with pytest.raises(PipelineError) as caught:
        extract(url, tmp_path, table)
    first = "session_id='a', page_url='a', viewed_at=" if table is PAGE_VIEWS else "id=1"
    assert caught.value.message.startswith(f"{table.name} has the key {first}")
    assert caught.value.message.endswith(" in 2 rows")
    assert f"a primary key on ({', '.join(table.key)})" in caught.value.hint
    assert not caught.value.retryable
    assert list(tmp_path.rglob("*.parquet")) == []


def test_repeated_keys_are_counted(url: str, tmp_path: Path) -> None:
    """Of several repeated keys the count is given, and the first with its rows."""
    create(url)
    for key in ("3", "2", "3", "2", "2", "1"):
        insert(url, ORDERS, id=key)
    with pytest.raises(PipelineError) as caught:
        extract(url, tmp_path, ORDERS)
    assert caught.value.message == "orders has 2 keys in several rows, the first id=2 in 3 rows"


def test_keys_that_differ_are_accepted(url: str, tmp_path: Path) -> None:
    """Keys of several columns repeat only where all of them do, and text is compared by bytes."""
    create(url)
    for session, page in (("a", "b"), ("a", "B"), ("A", "b"), ("b", "a")):
        insert(url, PAGE_VIEWS, session_id=f"'{session}'", page_url=f"'{page}'")
    assert extract(url, tmp_path, PAGE_VIEWS) == 4


@pytest.mark.parametrize(
    "index",
    [
        "CREATE INDEX i ON orders (id)",
        "CREATE UNIQUE INDEX i ON orders (id, user_id)",
        "CREATE UNIQUE INDEX i ON orders (id) WHERE user_id = 1",
        "CREATE UNIQUE INDEX i ON orders (abs(id - user_id))",
    ],
)
def test_other_indexes_ensure_nothing(url: str, tmp_path: Path, index: str) -> None:
    """Rows of one key are refused where an index lets them in: of more columns, a condition, …"""
    create(url)
    execute(url, index)
    for user in ("1", "2"):
        insert(url, ORDERS, user_id=user)
    with pytest.raises(PipelineError, match=r"orders has the key id=1 in 2 rows"):
        extract(url, tmp_path, ORDERS)


@pytest.fixture
def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search for repeated keys fail."""

    def refuse(table: Table, *other: object) -> str:
        raise AssertionError(f"the keys of {table.name} were searched")

    monkeypatch.setattr("ecommerce_pipeline.source.checks.repeated_keys_query", refuse)


@pytest.mark.usefixtures("no_scan")
def test_a_unique_key_is_not_searched(url: str, tmp_path: Path) -> None:
    """Where a unique index keeps the key, or a part of it, unique, the rows are not read for it."""
    create(url)
    execute(url, "CREATE UNIQUE INDEX i ON orders (id)")
    execute(url, "CREATE UNIQUE INDEX j ON page_views (viewed_at, session_id)")
    for table in (ORDERS, PAGE_VIEWS):
        insert(url, table)
        assert extract(url, tmp_path, table) == 1
    with pytest.raises(AssertionError, match="customers"):
        extract(url, tmp_path, CUSTOMERS)


@pytest.mark.usefixtures("no_scan")
def test_the_pipelines_own_tables_are_not_searched(url: str, tmp_path: Path) -> None:
    """The tables that ``source create`` makes have primary keys."""
    with closing(connect(url)) as source:
        source.create_tables()
    for table in TABLES:
        assert extract(url, tmp_path, table) == 0


def test_the_keys_of_inherited_rows_are_scanned(postgres_url: str, tmp_path: Path) -> None:
    """A parent's primary key says nothing about the rows of the tables that inherit from it."""
    create(postgres_url)
    insert(postgres_url, ORDERS)
    execute(
        postgres_url,
        "ALTER TABLE orders ADD PRIMARY KEY (id)",
        "CREATE TABLE old_orders () INHERITS (orders)",
        "INSERT INTO old_orders SELECT * FROM orders",
    )
    with pytest.raises(PipelineError, match=r"orders has the key id=1 in 2 rows"):
        extract(postgres_url, tmp_path, ORDERS)


def test_a_view_of_a_table_is_scanned(url: str, tmp_path: Path) -> None:
    """A view has no key of its own."""
    create(url)
    insert(url, ORDERS)
    execute(
        url,
        "ALTER TABLE orders RENAME TO stored",
        "CREATE VIEW orders AS SELECT * FROM stored UNION ALL SELECT * FROM stored",
    )
    with pytest.raises(PipelineError, match=r"orders has the key id=1 in 2 rows"):
        extract(url, tmp_path, ORDERS)
