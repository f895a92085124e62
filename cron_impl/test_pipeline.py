"""The control, started as cron starts it."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import command
import noop
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution.processes import free_port
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER, shared_step_server
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import IntervalRun, interval_run_from_json
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_NAMES
from pipeline_verification.harness.control import advance_source, fill_source, run_control

Start = Callable[..., subprocess.CompletedProcess[str]]

FIRST_DAY, SECOND_DAY = "2025-01-01", "2025-01-02"


@pytest.fixture(scope="module", params=[NATIVE, STEP_SERVER])
def start(request: pytest.FixtureRequest) -> Iterator[Start]:
    """Starts the pipeline in a form, in a folder, for some days."""
    with shared_step_server(request.param) as environment:

        def run(folder: Path, *days: str, **further: str) -> subprocess.CompletedProcess[str]:
            variables = {**environment, **further}
            return run_control(folder, *days, environment=variables, form=request.param)

        yield run


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory, start: Start) -> RunDirectory:
    """A folder after the first day's run; its source is at the end of the second."""
    run = RunDirectory(tmp_path_factory.mktemp("first-day"))
    url = f"sqlite:///{run.source_file}"
    fill_source(url, load_dataset("synthetic"), FIRST_DAY)
    done = start(run.path, FIRST_DAY)
    assert done.returncode == 0, done.stderr
    advance_source(url, load_dataset("synthetic"), SECOND_DAY)
    return run


@pytest.fixture
def run(first_day: RunDirectory, tmp_path: Path) -> RunDirectory:
    folder = tmp_path / "run"
    shutil.copytree(first_day.path, folder, symlinks=True)
    return RunDirectory(folder)


def recorded(run: RunDirectory, day: str) -> IntervalRun:
    path = run.interval_record(DataInterval.parse(day))
    return interval_run_from_json(json.loads(path.read_text()))


def notifications(run: RunDirectory) -> str:
    return run.notifications.read_text()


def test_the_steps_are_those_of_the_specification_in_its_order(first_day: RunDirectory) -> None:
    """A run records every specified step once; those that do not run side by side in order."""
    assert_all_in_order(recorded(first_day, FIRST_DAY))


def test_the_steps_that_do_nothing_are_the_same(tmp_path: Path) -> None:
    """noop.py records every specified step in order, and needs neither source nor warehouse."""
    run = RunDirectory(tmp_path)
    noop.pipeline(StepContext(run, DataInterval.parse(FIRST_DAY), source_url="sqlite:///none"))
    assert_all_in_order(recorded(run, FIRST_DAY))
    assert not run.warehouse.exists()


def assert_all_in_order(interval_run: IntervalRun) -> None:
    names = [step.name for step in interval_run.steps]
    assert sorted(names) == sorted(STEP_NAMES)
    assert [name for name in names if name not in EXTRACT_STEPS] == [
        name for name in STEP_NAMES if name not in EXTRACT_STEPS
    ]
    assert {step.state for step in interval_run.steps} == {"success"}
    assert {step.attempts for step in interval_run.steps} == {1}


def test_a_failed_staging_test_stops_the_marts(run: RunDirectory, start: Start) -> None:
    """A bad row fails the gate: no later step starts, nothing is published, Slack is notified."""
    published = run.published.resolve()
    dashboard = run.dashboard.read_bytes()
    with sqlite3.connect(run.source_file) as connection:
        connection.execute(
            "UPDATE orders SET status = 'lost' WHERE id ="
            " (SELECT id FROM orders WHERE updated_at >= ? LIMIT 1)",
            [int(datetime(2025, 1, 2, tzinfo=UTC).timestamp() * 1_000_000)],
        )
    done = start(run.path, SECOND_DAY)
    assert done.returncode == 1
    steps = {step.name: step.state for step in recorded(run, SECOND_DAY).steps}
    assert steps["dbt_test_staging"] == "failed"
    assert list(steps)[-1] == "dbt_test_staging"
    assert run.published.resolve() == published
    assert run.dashboard.read_bytes() == dashboard
    assert "dbt_test_staging" in notifications(run).splitlines()[-1]
    attempts = {step.name: step.attempts for step in recorded(run, SECOND_DAY).steps}
    assert attempts["dbt_test_staging"] == 1


def test_an_unreachable_source_is_tried_again(run: RunDirectory, start: Start) -> None:
    """An unreachable source is tried three times in all before the run fails."""
    url = f"postgresql://reader@127.0.0.1:{free_port()}/shop"
    done = start(run.path, SECOND_DAY, PIPELINE_SOURCE_URL=url)
    assert done.returncode == 1
    (step,) = recorded(run, SECOND_DAY).steps
    assert (step.name, step.state, step.attempts) == ("check_source_freshness", "failed", 3)


def test_two_runs_never_overlap(run: RunDirectory, start: Start) -> None:
    """While one run has locked the folder, another ends at once with a line that says so."""
    with exclusive(run.lock):
        done = start(run.path, SECOND_DAY)
    assert done.returncode == 1
    assert "another run" in done.stderr
    assert not run.interval_record(DataInterval.parse(SECOND_DAY)).exists()


def test_several_intervals_run_in_one_process(run: RunDirectory, start: Start) -> None:
    """A backfill names its intervals; each gets its own record."""
    done = start(run.path, FIRST_DAY, SECOND_DAY)
    assert done.returncode == 0, done.stderr
    assert [recorded(run, day).state for day in (FIRST_DAY, SECOND_DAY)] == ["success"] * 2


def test_without_an_argument_it_processes_yesterday() -> None:
    """Without an argument it processes the UTC day that ended last."""
    interval = command.yesterday()
    now = datetime.now(UTC)
    assert interval.end <= now < interval.end + timedelta(days=1, minutes=1)
    assert interval.end - interval.start == timedelta(days=1)
