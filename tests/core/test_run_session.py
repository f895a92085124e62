"""The session: the source advances, intervals are triggered, and both are recorded in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from ecommerce_pipeline import source
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.harness.run_session import (
    SQLITE,
    RunSession,
    empty_source,
    running_source,
)
from ecommerce_pipeline.interval import DataInterval, days
from ecommerce_pipeline.interval_run import FAILED, SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from support.small_shop import FIRST_DAY, LAST_DAY, SMALL_SHOP

NOON = datetime(2025, 2, 1, 12, tzinfo=UTC)
FIRST, SECOND = days(FIRST_DAY, 2)


@dataclass(slots=True)
class FakeVariant:
    """Runs nothing; a backfill starts with the last interval, and some intervals fail."""

    failing: Sequence[DataInterval] = ()
    name: str = "fake"
    form: str = "native"
    packages: Sequence[str] = ()
    addresses: Mapping[str, str] = field(default_factory=dict)

    def start(self, settings: RunSettings) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        return self._run(interval, NOON)

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        return [self._run(one, NOON - timedelta(hours=n)) for n, one in enumerate(intervals)]

    def _run(self, interval: DataInterval, started_at: datetime) -> IntervalRun:
        state = FAILED if interval in self.failing else SUCCESS
        return IntervalRun(str(interval), "1", state, state, started_at, NOON, ())


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    """An empty source in a run's folder."""
    run = RunDirectory(tmp_path)
    with running_source(SQLITE, run) as url:
        empty_source(url)
    return RunSettings(run=run, source_url=url)


def advanced(day: date) -> dict[str, str]:
    return {"advance": day.isoformat()}


def ran(interval: DataInterval, state: str = SUCCESS) -> dict[str, str]:
    return {"interval": str(interval), "state": state}


def test_each_day_is_run_after_the_source_has_reached_it(settings: RunSettings) -> None:
    """Day by day, each interval's run follows the advance to its day, and all is recorded."""
    reached: list[date] = []
    session = RunSession(FakeVariant(), settings, SMALL_SHOP, day_reached=reached.append)
    runs = session.run_day_by_day([FIRST, SECOND])
    assert session.history == [advanced(FIRST_DAY), ran(FIRST), advanced(LAST_DAY), ran(SECOND)]
    assert session.runs == runs
    assert reached == [FIRST_DAY, LAST_DAY]


def test_no_day_is_run_after_a_failed_one(settings: RunSettings) -> None:
    """After a failed run neither the source advances nor another interval runs."""
    session = RunSession(FakeVariant(failing=[FIRST]), settings, SMALL_SHOP)
    (run,) = session.run_day_by_day([FIRST, SECOND])
    assert run.state == FAILED
    assert session.history == [advanced(FIRST_DAY), ran(FIRST, FAILED)]


def test_a_backfill_is_recorded_in_the_order_of_the_starts(settings: RunSettings) -> None:
    """The history of a backfill has the intervals in the order in which they started."""
    session = RunSession(FakeVariant(), settings, SMALL_SHOP)
    runs = session.backfill([FIRST, SECOND])
    assert [run.interval for run in runs] == [str(FIRST), str(SECOND)]
    assert session.history == [ran(SECOND), ran(FIRST)]


def test_an_existing_database_does_not_advance(settings: RunSettings) -> None:
    """Without a data set an interval runs on the database as it is."""
    session = RunSession(FakeVariant(), settings, None)
    session.run_day_by_day([FIRST])
    assert session.history == [ran(FIRST)]
    database = source.connect(settings.source_url)
    assert database.state() == {}
    database.close()


def test_an_observer_sees_the_trigger_from_start_to_record(settings: RunSettings) -> None:
    """An observer's block starts before the trigger and ends when the run has been recorded."""
    seen: list[int] = []

    @contextmanager
    def observe(intervals: Sequence[DataInterval]) -> Iterator[None]:
        seen.append(len(session.runs))
        yield
        seen.append(len(session.runs))

    session = RunSession(FakeVariant(), settings, None, observe=observe)
    session.run_interval(FIRST)
    assert seen == [0, 1]
