"""SIGKILL of Prefect's processes in the middle of a step; what was measured is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from constants import BACKFILL_DEPLOYMENT, BACKFILL_FLOW, PIPELINE_DEPLOYMENT, PIPELINE_FLOW
from ecommerce_pipeline import journal
from ecommerce_pipeline.run_directory import RunDirectory
from proof import faults
from proof.faults import DAYS, Fault, Stage
from run import Prefect

THE_FLOW_RUN = "the flow-run process"
THE_WORKER = "the worker and its flow-run process"
THE_SERVER = "the server"


@dataclass(frozen=True)
class Scene:
    """A running variant, in a folder whose second day is about to be interrupted."""

    stage: Stage
    run: RunDirectory
    variant: Prefect

    def start_interval(self) -> str:
        """Have the second day run; the flow run's id."""
        parameters = {"interval": str(self.stage.interval)}
        return self.variant.api.create_run(PIPELINE_FLOW, PIPELINE_DEPLOYMENT, parameters)

    def flow_run_process(self) -> psutil.Process:
        """The one process of the worker that runs the flow."""
        worker = psutil.Process(self.variant.services["worker"].process.pid)
        (process,) = [p for p in worker.children() if "prefect.engine" in p.cmdline()]
        return process

    def kill(self, step: str, *victims: psutil.Process) -> None:
        """Wait until the step is at work, SIGKILL the victims, and see the step's process end."""
        with faults.frozen_step(self.run, self.stage.interval, step) as process:
            faults.kill(victims or [self.flow_run_process()])
        if not victims:
            faults.wait_for(lambda: faults.has_ended(process), f"{step} to end with its client")

    def seconds_until_not_running(self, run_id: str) -> float | None:
        """How long the API goes on to say that the flow run is running."""
        return faults.seconds_until(
            lambda: self.variant.api.read_run(run_id)["state_type"] != "RUNNING",
            faults.PATIENCE_SECONDS,
        )

    def conclude(self, run_id: str, killed: str, during: str, detected: float | None) -> None:
        """Wait until the flow run has ended by itself, note the fault, and compare."""
        self.variant.wait(run_id)
        differences = self.stage.differences(self.run)
        faults.note("prefect", Fault(killed, during, detected, "itself", not differences))
        assert self.variant.api.read_run(run_id)["state_name"] == "Completed"
        assert differences == []

    def times_done(self) -> Counter[str]:
        """How often each step was done for the second day."""
        entries = journal.read(self.run, self.stage.interval)
        return Counter(entry.step for entry in entries if entry.outcome == journal.SUCCESS)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return faults.prepare_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def scene(stage: Stage, tmp_path: Path) -> Iterator[Scene]:
    settings = stage.copy_to(tmp_path / "run")
    variant = Prefect()
    try:
        variant.start(settings)
        yield Scene(stage, settings.run, variant)
    finally:
        variant.stop()


@pytest.mark.parametrize("step", ["extract_orders", "dbt_run_marts"])
def test_a_killed_flow_run_goes_on_by_itself(scene: Scene, step: str) -> None:
    """The worker sees the death, an automation resumes the run, and what was done stays done."""
    run_id = scene.start_interval()
    scene.kill(step)
    detected = scene.seconds_until_not_running(run_id)
    scene.conclude(run_id, THE_FLOW_RUN, step, detected)
    assert detected is not None
    assert scene.times_done()["check_source_freshness"] == 1
    assert scene.times_done()[step] == 1


def test_a_killed_backfill_goes_on_by_itself(scene: Scene) -> None:
    """A backfill resumes in the middle of a day, in the same subflow run."""
    parameters = {"first_day": DAYS[1], "last_day": DAYS[1]}
    run_id = scene.variant.api.create_run(BACKFILL_FLOW, BACKFILL_DEPLOYMENT, parameters)
    scene.kill("dbt_run_staging")
    detected = scene.seconds_until_not_running(run_id)
    scene.conclude(run_id, f"{THE_FLOW_RUN} of a backfill", "dbt_run_staging", detected)
    assert detected is not None
    assert len(scene.variant.api.subflow_runs(run_id)) == 1
    assert scene.times_done()["load_raw"] == 1


def test_a_flow_run_that_died_with_its_worker_is_missed_and_goes_on(scene: Scene) -> None:
    """Nobody sees the death; when the heartbeats are missed, automations crash and resume it."""
    run_id = scene.start_interval()
    worker = psutil.Process(scene.variant.services["worker"].process.pid)
    faults.wait_for(worker.children, "the flow run's process")
    scene.kill("dbt_test_staging", worker, scene.flow_run_process())
    detected = scene.seconds_until_not_running(run_id)
    scene.conclude(run_id, THE_WORKER, "dbt_test_staging", detected)
    assert detected is not None


def test_a_flow_run_outlives_its_server(scene: Scene) -> None:
    """While the server is away the steps go on; started again, it learns how the run ended."""
    run_id = scene.start_interval()
    scene.kill("dbt_run_staging", psutil.Process(scene.variant.services["server"].process.pid))
    scene.conclude(run_id, THE_SERVER, "dbt_run_staging", None)
    assert set(scene.times_done().values()) == {1}
