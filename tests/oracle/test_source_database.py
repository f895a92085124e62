"""Reading a source database for the oracle gives the data set's rows, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecommerce_pipeline.contract import CUSTOMERS, TABLES
from ecommerce_pipeline.harness.postgres_server import running_server
from pipeline_verification.harness.control import fill_source
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import IntervalSucceeded
from pipeline_verification.oracle.source_database import read_tables
from pipeline_verification.oracle.source_state import SourceState
from support import foreign_source
from support.small_shop import DAY_BY_DAY, LAST_DAY, SMALL_SHOP


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/source.db"
    else:
        with running_server(tmp_path / "postgres") as postgres_url:
            yield postgres_url


def test_current_rows_are_the_data_sets(url: str) -> None:
    """Intervals over the database's rows give what they give over the data set at its end."""
    fill_source(url, SMALL_SHOP, LAST_DAY.isoformat())
    runs = [event for event in DAY_BY_DAY if isinstance(event, IntervalSucceeded)]
    by_database = expected_tables(SourceState(None, read_tables(url)), runs)
    by_data_set = expected_tables(SourceState(SMALL_SHOP), [DAY_BY_DAY[2], *runs])
    assert len(by_database["raw.orders"]) == 3
    for name, rows in by_data_set.items():
        keys = [(column, "ascending") for column in rows.column_names[:3]]
        assert by_database[name].sort_by(keys).equals(rows.sort_by(keys)), name


def test_text_times_are_read_as_times(tmp_path: Path) -> None:
    """A SQLite source of ISO 8601 text gives the tables that one of integers gives."""
    texts, integers = (f"sqlite:///{tmp_path}/{name}.db" for name in ("text", "integer"))
    foreign_source.create(texts, time_type="TEXT")
    foreign_source.create(integers)
    for table in TABLES:
        foreign_source.insert(texts, table, noon="'2025-01-02 13:00:00.000000+01'")
        foreign_source.insert(integers, table)
    found, expected = read_tables(texts), read_tables(integers)
    assert [found[table.name].equals(expected[table.name]) for table in TABLES] == [True] * 5


def test_the_date_style_does_not_matter(postgres_url: str) -> None:
    """Times of PostgreSQL are read under any style of dates."""
    foreign_source.create(postgres_url)
    foreign_source.insert(postgres_url, CUSTOMERS)
    expected = read_tables(postgres_url)["customers"]
    german = read_tables(postgres_url + "?options=-c%20DateStyle%3DGerman")["customers"]
    assert german.equals(expected)
