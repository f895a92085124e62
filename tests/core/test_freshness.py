"""Source freshness: how old the newest row before an interval's end may be at that end."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ecommerce_pipeline import source
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.datasets import reset_source
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.freshness import check_source_freshness
from pipeline_verification.conformance.scripted_dataset import changes

INTERVAL = DataInterval.parse("2025-01-10")
LIMIT = timedelta(hours=48)
MICROSECOND = timedelta(microseconds=1)


def context(folder: Path, *updates: datetime) -> StepContext:
    """An interval on a source that holds one customer for each time of update."""
    run = RunDirectory(folder)
    url = f"sqlite:///{run.source_file}"
    rows = [{"id": number, "updated_at": moment} for number, moment in enumerate(updates)]
    with closing(source.connect(url)) as database:
        reset_source(database)
        with database.transaction():
            database.apply(changes("customers", *rows))
    return StepContext(run, INTERVAL, url, max_staleness=LIMIT)


def test_a_row_exactly_at_the_limit_is_fresh(tmp_path: Path) -> None:
    """A newest row that is exactly as old as allowed passes, and its age is reported."""
    newest = INTERVAL.end - LIMIT
    result = check_source_freshness(context(tmp_path, newest))
    assert result.details == {
        "newest_update": newest.isoformat(),
        "staleness_seconds": int(LIMIT.total_seconds()),
    }


def test_a_row_a_microsecond_past_the_limit_is_stale(tmp_path: Path) -> None:
    """A newest row that is older than allowed by the smallest step of time fails."""
    with pytest.raises(PipelineError, match="the source is stale") as caught:
        check_source_freshness(context(tmp_path, INTERVAL.end - LIMIT - MICROSECOND))
    assert not caught.value.retryable


def test_rows_at_the_end_of_the_interval_do_not_count(tmp_path: Path) -> None:
    """The interval is half-open: a row at its end, or after it, makes the source no fresher."""
    old = INTERVAL.end - LIMIT - MICROSECOND
    with pytest.raises(PipelineError, match="the source is stale"):
        check_source_freshness(context(tmp_path, old, INTERVAL.end, INTERVAL.end + LIMIT))


def test_a_row_just_before_the_end_counts(tmp_path: Path) -> None:
    """The last moment of the interval is part of it."""
    newest = INTERVAL.end - MICROSECOND
    details = check_source_freshness(context(tmp_path, newest)).details
    assert details["newest_update"] == newest.isoformat()
    assert details["staleness_seconds"] == 0


@pytest.mark.parametrize("updates", [(), (INTERVAL.end,)])
def test_a_source_without_an_earlier_row_is_refused(
    tmp_path: Path, updates: tuple[datetime, ...]
) -> None:
    """Without any row before the interval's end there is nothing to extract, and the step fails."""
    with pytest.raises(PipelineError, match=r"no row updated before 2025-01-11T00:00:00Z"):
        check_source_freshness(context(tmp_path, *updates))


def test_an_interval_that_is_not_over_is_reported(tmp_path: Path) -> None:
    """A run of an interval whose end lies in the future passes with a warning that says so."""
    today = datetime.now(UTC).date()
    interval = DataInterval.for_day(today)
    result = check_source_freshness(replace(context(tmp_path, interval.start), interval=interval))
    assert f"the interval {interval} is not over yet" in str(result.details["warnings"])
