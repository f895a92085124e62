"""Reading a source database for the oracle gives the data set's rows, exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecommerce_pipeline.harness.postgres_server import running_server
from pipeline_verification.harness.control import fill_source
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import IntervalSucceeded
from pipeline_verification.oracle.source_database import read_tables
from pipeline_verification.oracle.source_state import SourceState
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
