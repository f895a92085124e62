"""SIGKILL of Dagster's processes in the middle of a step, recorded; backfills run twice."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import duckdb
import psutil
import pytest

from client import Run
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER, forms, started
from ecommerce_pipeline.interval import days, parse_day
from ecommerce_pipeline.interval_run import SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.compare import compare
from pipeline_verification.harness.control import fill_source, run_control
from pipeline_verification.harness.fault_injection import (
    DAYS,
    POLL_SECONDS,
    Fault,
    InterruptedDay,
    InterruptedRun,
    has_ended,
    kill,
    seconds_until,
    wait_for,
)
from run import CODE_SERVER, HERE, Dagster

ITSELF = "itself"
# By then daemon and webserver have noticed that the code server does not answer.
SLOW_START_SECONDS = 15.0
RESUMED = "python dagster_impl/run.py --resume"
EVENTS = """query ($id: ID!) {
  answer: runOrError(runId: $id) { ... on Run { eventConnection { events {
    ... on MessageEvent { message stepKey }
    ... on DisplayableEvent { metadataEntries { label ... on TextMetadataEntry { text } } }
  } } } }
}"""


class InterruptedDagster(InterruptedRun[Dagster]):
    """How Dagster's processes are found, and how its API shows a failure."""

    def launch(self) -> str:
        """Launch the run of the second day; return its id."""
        return self.variant.client.launch(DAYS[1])

    def shown(self, run_id: str) -> Run:
        """The run as the API shows it."""
        return self.variant.client.runs(runIds=[run_id])[0]

    def has_failed(self, run_id: str) -> bool:
        """Whether the API shows the run as failed."""
        return bool(self.shown(run_id)["status"] == "FAILURE")

    @contextmanager
    def frozen_step(self, step: str) -> Iterator[psutil.Process]:
        """Wait until a step of the day runs, and suspend its process for the block."""
        # Natively a Python step is over before the API tells its process; load_raw waits here.
        waits = self.variant.form == NATIVE and not step.startswith("dbt")
        lock = duckdb.connect(self.run.warehouse) if waits else nullcontext()
        with lock, super().frozen_step(step) as process:
            yield process

    def step_process(self, step: str) -> psutil.Process | None:
        """The process at work on a step: natively Dagster's own, or the dbt that it has started."""
        if self.variant.form == STEP_SERVER:
            return super().step_process(step)
        with suppress(ValueError, IndexError, psutil.NoSuchProcess):  # it has not begun
            newest = self.variant.client.runs(steps=False)[-1]["runId"]
            process = self.worker(newest, step)
            if not step.startswith("dbt"):
                return process
            return next((p for p in process.children() if _has_open(p, "dbt.log")), None)
        return None

    def process(self, run_id: str, message: str) -> psutil.Process:
        """The process whose id Dagster records with such a message."""
        events = self.variant.client.ask(EVENTS, id=run_id)["answer"]["eventConnection"]["events"]
        (pid,) = {
            entry["text"]
            for event in events
            if message in event["message"]
            for entry in event["metadataEntries"]
            if entry["label"] == "pid"
        }
        return psutil.Process(int(pid))

    def worker(self, run_id: str, step: str) -> psutil.Process:
        """The process in which Dagster runs the step."""
        return self.process(run_id, f'Executing step "{step}" in subprocess')

    def run_process(self, run_id: str) -> psutil.Process:
        """The process that starts the steps of the run."""
        return self.process(run_id, "Executing steps using multiprocess executor")

    def slow_start(self, name: str) -> None:
        """Suspend a service that was just restarted, and restart the others if they exit."""
        process = self.service(name)
        process.suspend()
        deadline = time.monotonic() + SLOW_START_SECONDS
        while time.monotonic() < deadline:
            self.variant.restart_exited_services()
            time.sleep(POLL_SECONDS)
        process.resume()

    def end(self, run_id: str, fault: Fault) -> IntervalRun:
        """Wait until the run, or a retry of it, has ended; it must succeed with equal data."""
        interval_run = self.variant.wait(self.day.interval, run_id)
        self.record(fault)
        assert interval_run.state == SUCCESS
        return interval_run


def _has_open(process: psutil.Process, name: str) -> bool:
    return any(Path(opened.path).name == name for opened in process.open_files())


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> InterruptedDay:
    return InterruptedDay.prepare(tmp_path_factory.mktemp("day"))


@pytest.fixture(params=forms(HERE))
def variant(request: pytest.FixtureRequest) -> Dagster:
    return Dagster(request.param)


@pytest.fixture
def interrupted(
    variant: Dagster, day: InterruptedDay, tmp_path: Path
) -> Iterator[InterruptedDagster]:
    with InterruptedDagster.started(variant, day, tmp_path / "run") as run:
        yield run


@pytest.mark.parametrize("step", ["load_raw", "dbt_run_marts"])
def test_a_killed_step_is_tried_again(interrupted: InterruptedDagster, step: str) -> None:
    """The run's process sees the death, and the step's retry policy applies."""
    run_id = interrupted.launch()

    def attempt_is_over() -> bool:
        (stats,) = [s for s in interrupted.shown(run_id)["stepStats"] if s["stepKey"] == step]
        return len(stats["attempts"]) == 1

    detected = interrupted.kill_during(
        step, lambda: [interrupted.worker(run_id, step)], attempt_is_over
    )
    interval_run = interrupted.end(run_id, Fault("the step's process", step, detected, ITSELF))
    assert {s.name: s.attempts for s in interval_run.steps}[step] == 2
    assert set(interrupted.times_done().values()) == {1}


def test_a_killed_run_is_resumed(interrupted: InterruptedDagster) -> None:
    """Its steps end with it; the code server detects that, and a second run resumes there."""
    step = "dbt_run_staging"
    run_id = interrupted.launch()
    with interrupted.frozen_step(step) as worker:
        orphan = interrupted.worker(run_id, step)
        moment = kill([interrupted.run_process(run_id)])
        wait_for(lambda: has_ended(orphan), "the step to end with its run", 10)
        wait_for(lambda: has_ended(worker), "what works for the step to end with it", 10)
    detected = seconds_until(lambda: interrupted.has_failed(run_id), 60, since=moment)
    interrupted.end(run_id, Fault("the run's process", step, detected, ITSELF))
    assert detected is not None
    assert (interrupted.times_done()["load_raw"], interrupted.times_done()[step]) == (1, 1)


def test_a_run_outlives_daemon_and_webserver(interrupted: InterruptedDagster) -> None:
    """While they are down the steps keep running; nothing is done twice."""
    step = "dbt_test_staging"
    run_id = interrupted.launch()
    with interrupted.frozen_step(step):
        kill([*map(interrupted.service, ("daemon", "webserver"))])
    interrupted.end(run_id, Fault("the daemon and the webserver", step, None, ITSELF))
    assert set(interrupted.times_done().values()) == {1}


def test_a_run_that_died_with_its_code_server_is_resumed(interrupted: InterruptedDagster) -> None:
    """Once the code server is started again Dagster is informed, and resumes the run."""
    step = "dbt_snapshot"
    run_id = interrupted.launch()

    def is_detected() -> bool:
        interrupted.variant.restart_exited_services()
        return interrupted.has_failed(run_id)

    code_server = interrupted.service(CODE_SERVER)
    detected = interrupted.kill_during(
        step, lambda: [code_server, interrupted.run_process(run_id)], is_detected
    )
    interrupted.slow_start(CODE_SERVER)
    interrupted.end(run_id, Fault("the code server and the run's process", step, detected, ITSELF))
    assert interrupted.times_done()["load_raw"] == 1


def test_an_interval_waits_for_the_code_server(interrupted: InterruptedDagster) -> None:
    """An interval triggered while the code server is down is launched once it is up again."""
    kill([interrupted.service(CODE_SERVER)])
    interrupted.variant.restart_exited_services()
    interrupted.slow_start(CODE_SERVER)
    assert interrupted.variant.run_interval(interrupted.day.interval).state == SUCCESS
    assert interrupted.differences() == []


def test_after_a_power_cut_the_interval_is_run_again(interrupted: InterruptedDagster) -> None:
    """No process is left to detect it; the services' next start cancels the unfinished run."""
    step = "dbt_run_marts"
    run_id = interrupted.launch()
    with interrupted.frozen_step(step):
        services = [*map(interrupted.service, ("daemon", "webserver", CODE_SERVER))]
        kill([*services, interrupted.run_process(run_id), interrupted.worker(run_id, step)])
    interrupted.variant.stop()
    interrupted.variant.start(interrupted.settings)
    interval_run = interrupted.variant.run_interval(interrupted.day.interval)
    interrupted.record(Fault("everything at once", step, None, RESUMED))
    assert (interval_run.state, interrupted.shown(run_id)["status"]) == (SUCCESS, "CANCELED")


def test_a_backfill_run_twice_leaves_the_same_tables(variant: Dagster, tmp_path: Path) -> None:
    """From an empty warehouse no day overwrites another, and a second backfill changes no table."""
    week = list(days(parse_day(DAYS[0]), 7))
    control, run = RunDirectory(tmp_path / "control"), RunDirectory(tmp_path / "run")
    control.path.mkdir()
    fill_source(f"sqlite:///{control.source_file}", load_dataset("synthetic"), "2025-01-07")
    shutil.copytree(control.path, run.path)
    undisturbed = run_control(control.path, *map(str, week))
    assert undisturbed.returncode == 0, undisturbed.stderr
    settings = RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")
    with started(variant, settings):
        for _ in range(2):
            runs = variant.backfill(week)
            assert [done.state for done in runs] == [SUCCESS] * 7
            assert compare(run.warehouse, control.warehouse) == []
