"""Rows that the source has deleted, and rows that it has and the warehouse lacks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_pipeline import maintenance, steps
from ecommerce_pipeline.context import (
    DEFAULT_KEY_SNAPSHOT_ROWS,
    DEFAULT_MAX_KEY_LOSS,
    RunSettings,
)
from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source import connect
from pipeline_verification.conformance.scripted_dataset import Row, changes

FIRST, SECOND, THIRD = (DataInterval.parse(f"2025-01-0{day}") for day in (1, 2, 3))
MORNING = datetime(2025, 1, 1, 10, tzinfo=UTC)
KEYS: Mapping[str, tuple[Row, ...]] = {
    **{
        name: tuple({"id": number} for number in (1, 2, 3))
        for name in ("customers", "products", "orders", "order_items")
    },
    "page_views": tuple(
        {"session_id": f"s{number}", "page_url": "/", "viewed_at": MORNING} for number in (1, 2, 3)
    ),
}


class Source:
    """A source database with three rows in each table, and a run that reads it."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite:///{folder / 'shop.db'}"
        self.settings = RunSettings(RunDirectory(folder / "run"), self.url)
        with closing(connect(self.url)) as source:
            source.create_tables()
        for name, keys in KEYS.items():
            self.put(name, *({**key, "updated_at": MORNING} for key in keys))

    def put(self, table: str, *rows: Row, delete: tuple[Row, ...] = ()) -> None:
        with closing(connect(self.url)) as source, source.transaction():
            source.apply(changes(table, *rows, deleted=delete))

    def run(
        self,
        interval: DataInterval,
        *,
        lookback: int = 0,
        max_key_loss: float = DEFAULT_MAX_KEY_LOSS,
        key_snapshot_rows: int = DEFAULT_KEY_SNAPSHOT_ROWS,
    ) -> StepResult:
        """Extract and load one interval; the load's result."""
        settings = replace(
            self.settings,
            lookback=lookback,
            max_key_loss=max_key_loss,
            key_snapshot_rows=key_snapshot_rows,
        )
        context = settings.context(interval)
        for table in TABLES:
            steps.resolve(f"extract_{table.name}")(context)
        return steps.resolve("load_raw")(context)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.settings.run.warehouse), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(statement).fetchall()

    def deleted(self, table: str) -> list[tuple[Any, ...]]:
        return self.query(f"FROM raw.deleted_{table} ORDER BY ALL")


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def key_of(table: str, number: int) -> tuple[Any, ...]:
    row = KEYS[table][number - 1]
    return tuple(row[name] for name in TABLE_BY_NAME[table].key)


@pytest.mark.parametrize("table", KEYS)
def test_a_deleted_row_of_every_table_is_known(source: Source, table: str) -> None:
    """The next interval finds the row that the source has deleted, and keeps it loaded."""
    source.run(FIRST)
    assert source.deleted(table) == []
    source.put(table, delete=(KEYS[table][1],))
    source.run(SECOND)
    assert source.deleted(table) == [key_of(table, 2)]
    assert source.query(f"SELECT count(*) FROM raw.{table}") == [(3,)]


@pytest.mark.parametrize("table", KEYS)
def test_a_row_that_returns_is_no_longer_deleted(source: Source, table: str) -> None:
    """A deleted row that is back, unchanged, counts again from the next interval on."""
    source.run(FIRST)
    source.put(table, delete=(KEYS[table][1],))
    source.run(SECOND)
    source.put(table, {**KEYS[table][1], "updated_at": MORNING})
    source.run(THIRD)
    assert source.deleted(table) == []


def test_an_older_interval_does_not_bring_deleted_rows_back(source: Source) -> None:
    """The landing file of an older interval, loaded after a newer one, changes no deletion."""
    for table in TABLES:
        steps.resolve(f"extract_{table.name}")(source.settings.context(FIRST))
    source.put("orders", delete=({"id": 2},))
    source.run(SECOND)
    steps.resolve("load_raw")(source.settings.context(FIRST))
    assert source.deleted("orders") == [(2,)]
    assert source.query("SELECT id FROM raw.orders ORDER BY id") == [(1,), (2,), (3,)]


def test_a_row_found_by_an_older_interval_counts(source: Source) -> None:
    """A row that was committed late counts as soon as its own interval has run again."""
    source.run(FIRST)
    source.run(SECOND)
    source.put("orders", {"id": 9, "updated_at": MORNING})
    source.run(FIRST)
    assert source.query("SELECT id FROM raw.orders WHERE id = 9") == [(9,)]
    assert source.deleted("orders") == []


@pytest.mark.parametrize("kept", [0, 1])
def test_losing_most_of_a_table_is_refused(source: Source, kept: int) -> None:
    """A source that lacks more than half of the keys fails the load, and raw stays as it was."""
    source.run(FIRST)
    source.put("customers", delete=KEYS["customers"][kept:])
    with pytest.raises(PipelineError, match=f"has lost {3 - kept} of the 3 rows of customers"):
        source.run(SECOND)
    assert source.deleted("customers") == []
    assert source.query("SELECT DISTINCT interval_end FROM raw.loaded_intervals") == [(FIRST.end,)]


def test_losing_most_of_a_table_can_be_allowed(source: Source) -> None:
    """With the option that the message names, the interval passes, and so do later ones."""
    source.run(FIRST)
    source.put("customers", delete=KEYS["customers"])
    source.run(SECOND, max_key_loss=1.0)
    assert source.deleted("customers") == [(1,), (2,), (3,)]
    source.run(THIRD)


def test_losing_exactly_the_share_is_allowed(source: Source) -> None:
    """The share itself may go, and a table's only row as well."""
    source.put("customers", {"id": 4, "updated_at": MORNING})
    source.put("orders", delete=KEYS["orders"][1:])
    source.run(FIRST)
    source.put("customers", delete=KEYS["customers"][:2])
    source.put("orders", delete=KEYS["orders"])
    source.run(SECOND)
    assert source.deleted("customers") == [(1,), (2,)]
    assert source.deleted("orders") == [(1,)]


def warnings(result: StepResult) -> str:
    return str(result.details.get("warnings", ""))


def test_a_run_without_anything_odd_does_not_warn(source: Source) -> None:
    """When every row is loaded and no time is left out there is no warning."""
    assert source.run(FIRST).details == {}
    source.put("orders", {"id": 3, "updated_at": SECOND.start})
    source.put("orders", {"id": 9, "updated_at": THIRD.start})
    assert source.run(SECOND).details == {}


def test_a_day_that_never_ran_is_reported(source: Source) -> None:
    """A run after a day that was left out names that day, and the rows that are missing."""
    source.run(FIRST)
    source.put("orders", {"id": 3, "updated_at": SECOND.start})
    warned = warnings(source.run(THIRD))
    assert f"no run has loaded {SECOND}" in warned
    assert "the source has rows of orders that are not loaded: 1 updated on 2025-01-02" in warned


def test_a_row_that_went_back_in_time_is_reported(source: Source) -> None:
    """A row restored with an older updated_at stays as it was loaded, and a warning says so."""
    source.put("customers", {"id": 1, "name": "wrong", "updated_at": SECOND.start})
    source.run(FIRST)
    source.run(SECOND)
    source.put("customers", {"id": 1, "name": "right", "updated_at": MORNING})
    warned = warnings(source.run(THIRD))
    assert "1 rows of customers have an older updated_at in the source" in warned


@pytest.mark.parametrize("limit", [2, 100])
def test_a_late_commit_is_reported_and_a_lookback_catches_it(source: Source, limit: int) -> None:
    """A row committed after its interval ran is reported by the next one, or loaded with it."""
    source.run(FIRST, key_snapshot_rows=limit)
    source.put("orders", {"id": 9, "updated_at": MORNING})
    assert "orders" in warnings(source.run(SECOND, key_snapshot_rows=limit))
    assert source.query("FROM raw.orders WHERE id = 9") == []
    assert warnings(source.run(THIRD, lookback=2, key_snapshot_rows=limit)) == ""
    assert source.query("SELECT id FROM raw.orders WHERE id = 9") == [(9,)]


def test_rows_that_a_lookback_finds_are_not_lost_ones(source: Source) -> None:
    """Late rows of the day before are no loss, though that day's own keys do not have them."""
    source.put("orders", delete=KEYS["orders"][1:])
    source.run(FIRST)
    source.put("orders", *({"id": number, "updated_at": MORNING} for number in (7, 8, 9)))
    assert warnings(source.run(SECOND, lookback=1)) == ""
    assert source.query("SELECT id FROM raw.orders ORDER BY id") == [(1,), (7,), (8,), (9,)]
    assert source.deleted("orders") == []


def test_losing_most_of_a_large_table_is_refused(source: Source) -> None:
    """Above the limit of key snapshots the share holds for the number of rows."""
    source.run(FIRST, key_snapshot_rows=0)
    source.put("customers", delete=KEYS["customers"][1:])
    with pytest.raises(PipelineError, match="has lost 2 of the 3 rows of customers"):
        source.run(SECOND, key_snapshot_rows=0)


def test_deletions_in_a_large_table_are_counted_and_resynchronized(source: Source) -> None:
    """Above the limit deleted rows are reported with their number; one command finds them."""
    source.run(FIRST, key_snapshot_rows=1)
    source.put("orders", {"id": 3, "updated_at": SECOND.end + timedelta(hours=1)})
    source.put("orders", delete=({"id": 2},))
    result = source.run(SECOND, key_snapshot_rows=1)
    assert "orders: 1 loaded rows are no longer in the source" in warnings(result)
    assert source.deleted("orders") == []
    limited = replace(source.settings, key_snapshot_rows=1)
    assert maintenance.resynchronize(limited) == SECOND
    assert source.deleted("orders") == [(2,)]
    assert warnings(source.run(SECOND, key_snapshot_rows=1)) == ""
    assert source.deleted("orders") == [(2,)]
