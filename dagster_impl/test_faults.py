"""SIGKILL of Dagster's processes in the middle of a step, written down; backfills run twice."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from client import Run
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.harness.variant import started
from ecommerce_pipeline.interval import days, parse_day
from ecommerce_pipeline.interval_run import SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.compare import compare
from pipeline_verification.harness import fault_injection
from pipeline_verification.harness.control import fill_source, run_control
from pipeline_verification.harness.fault_injection import DAYS, Fault, Stage
from run import CODE_SERVER, Dagster

ITSELF = "itself"
SLOW_START_SECONDS = 15.0  # after that daemon and webserver have noticed that nobody answers
RESUMED = "python dagster_impl/run.py --resume"
EVENTS = """query ($id: ID!) {
  answer: runOrError(runId: $id) { ... on Run { eventConnection { events {
    ... on MessageEvent { message stepKey }
    ... on DisplayableEvent { metadataEntries { label ... on TextMetadataEntry { text } } }
  } } } }
}"""


@dataclass(frozen=True)
class Scene:
    """A running variant, in a folder whose second day is about to be interrupted."""

    stage: Stage
    settings: RunSettings
    variant: Dagster

    def launch(self) -> str:
        """Have the second day run; the run's id."""
        return self.variant.client.launch(DAYS[1])

    def shown(self, run_id: str) -> Run:
        """The run as the API shows it."""
        return self.variant.client.runs(runIds=[run_id])[0]

    def has_failed(self, run_id: str) -> bool:
        """Whether the API shows the run as failed."""
        return bool(self.shown(run_id)["status"] == "FAILURE")

    def process(self, run_id: str, message: str) -> psutil.Process:
        """The process whose id Dagster tells beside such a message."""
        events = self.variant.client.ask(EVENTS, id=run_id)["answer"]["eventConnection"]["events"]
        (pid,) = {
            entry["text"]
            for event in events
            if message in event["message"]
            for entry in event["metadataEntries"]
            if entry["label"] == "pid"
        }
        return psutil.Process(int(pid))

    def step_process(self, run_id: str, step: str) -> psutil.Process:
        """The process in which Dagster runs the step."""
        return self.process(run_id, f'Executing step "{step}" in subprocess')

    def run_process(self, run_id: str) -> psutil.Process:
        """The process that starts the steps of the run."""
        return self.process(run_id, "Executing steps using multiprocess executor")

    def services(self, *names: str) -> list[psutil.Process]:
        """The processes of some services."""
        return [psutil.Process(self.variant.services[name].process.pid) for name in names]

    def kill(
        self, step: str, victims: Callable[[], list[psutil.Process]], seen: Callable[[], bool]
    ) -> float | None:
        """SIGKILL the victims while the step is at work; how long until the API tells of it."""
        with fault_injection.frozen_step(self.settings.run, self.stage.interval, step) as process:
            moment = fault_injection.kill(victims())
        detected = fault_injection.seconds_until(
            seen, fault_injection.PATIENCE_SECONDS, since=moment
        )
        fault_injection.wait_for(
            lambda: fault_injection.has_ended(process), f"{step} to end with its client"
        )
        return detected

    def slow_start(self, name: str) -> None:
        """Hold a service that was just started again, while the others are kept up."""
        (process,) = self.services(name)
        process.suspend()
        deadline = time.monotonic() + SLOW_START_SECONDS
        while time.monotonic() < deadline:
            self.variant.keep_up()
            time.sleep(fault_injection.POLL_SECONDS)
        process.resume()

    def conclude(self, run_id: str, fault: Fault) -> IntervalRun:
        """Wait until the run, or a retry of it, has succeeded; compare, and note the fault."""
        interval_run = self.variant.wait(self.stage.interval, run_id)
        self.compare(fault)
        assert interval_run.state == SUCCESS
        return interval_run

    def compare(self, fault: Fault) -> None:
        """Note whether what is left equals the run left alone, and insist on it."""
        differences = self.stage.differences(self.settings.run)
        fault_injection.note("dagster", replace(fault, equal=not differences))
        assert differences == []

    def times_done(self) -> Counter[str]:
        """How often each step was done for the second day."""
        return self.stage.times_done(self.settings.run)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return fault_injection.prepare_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def scene(stage: Stage, tmp_path: Path) -> Iterator[Scene]:
    settings = stage.copy_to(tmp_path / "run")
    with started(Dagster(), settings) as variant:
        yield Scene(stage, settings, variant)


@pytest.mark.parametrize("step", ["extract_orders", "dbt_run_marts"])
def test_a_killed_step_is_tried_again(scene: Scene, step: str) -> None:
    """The run's process sees the death, and the step's retry policy applies."""
    run_id = scene.launch()

    def attempt_is_over() -> bool:
        (stats,) = [s for s in scene.shown(run_id)["stepStats"] if s["stepKey"] == step]
        return len(stats["attempts"]) == 1

    detected = scene.kill(step, lambda: [scene.step_process(run_id, step)], attempt_is_over)
    interval_run = scene.conclude(run_id, Fault("the step's process", step, detected, ITSELF))
    assert {s.name: s.attempts for s in interval_run.steps}[step] == 2
    assert set(scene.times_done().values()) == {1}


def test_a_killed_run_is_resumed(scene: Scene) -> None:
    """Its steps end with it; the code server sees it, and a second run goes on where it was."""
    step = "dbt_run_staging"
    run_id = scene.launch()
    run = scene.settings.run
    with fault_injection.frozen_step(run, scene.stage.interval, step):
        orphan = scene.step_process(run_id, step)
        moment = fault_injection.kill([scene.run_process(run_id)])
        fault_injection.wait_for(
            lambda: fault_injection.has_ended(orphan), "the step to end with its run", 10
        )
    detected = fault_injection.seconds_until(lambda: scene.has_failed(run_id), 60, since=moment)
    scene.conclude(run_id, Fault("the run's process", step, detected, ITSELF))
    assert detected is not None
    assert (scene.times_done()["load_raw"], scene.times_done()[step]) == (1, 1)


def test_a_run_outlives_daemon_and_webserver(scene: Scene) -> None:
    """While they are away the steps go on; nothing is done twice."""
    step = "dbt_test_staging"
    run_id = scene.launch()
    with fault_injection.frozen_step(scene.settings.run, scene.stage.interval, step):
        fault_injection.kill(scene.services("daemon", "webserver"))
    scene.conclude(run_id, Fault("the daemon and the webserver", step, None, ITSELF))
    assert set(scene.times_done().values()) == {1}


def test_a_run_that_died_with_its_code_server_is_resumed(scene: Scene) -> None:
    """Whoever starts the code server again tells Dagster; it resumes, however long the start is."""
    step = "dbt_snapshot"
    run_id = scene.launch()

    def seen() -> bool:
        scene.variant.keep_up()
        return scene.has_failed(run_id)

    victims = scene.services(CODE_SERVER)
    detected = scene.kill(step, lambda: [*victims, scene.run_process(run_id)], seen)
    scene.slow_start(CODE_SERVER)
    scene.conclude(run_id, Fault("the code server and the run's process", step, detected, ITSELF))
    assert scene.times_done()["load_raw"] == 1


def test_an_interval_waits_for_the_code_server(scene: Scene) -> None:
    """One that is triggered while the code server is away is launched once it is there again."""
    fault_injection.kill(scene.services(CODE_SERVER))
    scene.variant.keep_up()
    scene.slow_start(CODE_SERVER)
    assert scene.variant.run_interval(scene.stage.interval).state == SUCCESS
    assert scene.stage.differences(scene.settings.run) == []


def test_after_a_power_cut_the_interval_is_run_again(scene: Scene) -> None:
    """Nothing is left to see the death; the services' next start gives up what was unfinished."""
    step = "dbt_run_marts"
    run_id = scene.launch()
    with fault_injection.frozen_step(scene.settings.run, scene.stage.interval, step):
        services = scene.services("daemon", "webserver", CODE_SERVER)
        fault_injection.kill(
            [*services, scene.run_process(run_id), scene.step_process(run_id, step)]
        )
    scene.variant.stop()
    scene.variant.start(scene.settings)
    interval_run = scene.variant.run_interval(scene.stage.interval)
    scene.compare(Fault("everything at once", step, None, RESUMED))
    assert (interval_run.state, scene.shown(run_id)["status"]) == (SUCCESS, "CANCELED")


def test_a_backfill_run_twice_leaves_the_same_tables(tmp_path: Path) -> None:
    """From an empty warehouse no day overwrites another, and a second backfill changes no table."""
    week = list(days(parse_day(DAYS[0]), 7))
    control, run = RunDirectory(tmp_path / "control"), RunDirectory(tmp_path / "run")
    control.path.mkdir()
    fill_source(f"sqlite:///{control.source_file}", load_dataset("synthetic"), "2025-01-07")
    shutil.copytree(control.path, run.path)
    left_alone = run_control(control.path, *map(str, week))
    assert left_alone.returncode == 0, left_alone.stderr
    settings = RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")
    with started(Dagster(), settings) as variant:
        for _ in range(2):
            runs = variant.backfill(week)
            assert [done.state for done in runs] == [SUCCESS] * 7
            assert compare(run.warehouse, control.warehouse) == []
