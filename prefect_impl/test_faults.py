"""SIGKILL of Prefect's processes in the middle of a step; what was measured is written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
import pytest

from constants import BACKFILL_DEPLOYMENT, BACKFILL_FLOW, PIPELINE_DEPLOYMENT, PIPELINE_FLOW
from ecommerce_pipeline.harness.variant import started
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from pipeline_verification.harness import fault_injection
from pipeline_verification.harness.fault_injection import DAYS, Fault, Stage
from run import Prefect

BY_AUTOMATION = "itself: the automation resume-crashed-runs"
BY_RESTART = "itself: the flow run went on, the service manager started the server again"


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
        (process,) = worker.children()
        return process

    def kill_flow_run(self, run_id: str, step: str, *others: psutil.Process) -> float | None:
        """SIGKILL it during a step; how long the API goes on to say that it is running."""
        with fault_injection.frozen_step(self.run, self.stage.interval, step) as process:
            moment = fault_injection.kill([*others, self.flow_run_process()])
        detected = fault_injection.seconds_until(
            lambda: self.variant.api.read_run(run_id)["state_type"] != "RUNNING",
            fault_injection.PATIENCE_SECONDS,
            since=moment,
        )
        fault_injection.wait_for(
            lambda: fault_injection.has_ended(process), f"{step} to end with its client"
        )
        return detected

    def conclude(self, run_id: str, fault: Fault) -> None:
        """Wait until the flow run has ended by itself, compare, and note the fault."""
        self.variant.wait(run_id)
        differences = self.stage.differences(self.run)
        fault_injection.note("prefect", replace(fault, equal=not differences))
        assert self.variant.api.read_run(run_id)["state_name"] == "Completed"
        assert differences == []
        assert '"kind": "failure"' not in self.run.notifications.read_text()

    def times_done(self) -> Counter[str]:
        """How often each step was done for the second day."""
        return self.stage.times_done(self.run)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return fault_injection.prepare_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def scene(stage: Stage, tmp_path: Path) -> Iterator[Scene]:
    settings = stage.copy_to(tmp_path / "run")
    with started(Prefect(), settings) as variant:
        yield Scene(stage, settings.run, variant)


@pytest.mark.parametrize("step", ["extract_orders", "dbt_run_marts"])
def test_a_killed_flow_run_goes_on_by_itself(scene: Scene, step: str) -> None:
    """The worker sees the death, an automation resumes the run, and what was done stays done."""
    run_id = scene.start_interval()
    detected = scene.kill_flow_run(run_id, step)
    scene.conclude(run_id, Fault("the flow-run process", step, detected, BY_AUTOMATION))
    assert detected is not None
    assert scene.times_done()["check_source_freshness"] == 1
    assert scene.times_done()[step] == 1
    recorded = scene.variant.api.interval_run(scene.variant.api.read_run(run_id))
    assert sorted(made.name for made in recorded.steps) == sorted(STEP_NAMES)
    assert {made.state for made in recorded.steps} == {"success"}


def test_a_killed_backfill_goes_on_by_itself(scene: Scene) -> None:
    """A backfill resumes in the middle of a day, in the same subflow run."""
    step = "dbt_run_staging"
    parameters = {"first_day": DAYS[1], "last_day": DAYS[1]}
    run_id = scene.variant.api.create_run(BACKFILL_FLOW, BACKFILL_DEPLOYMENT, parameters)
    detected = scene.kill_flow_run(run_id, step)
    scene.conclude(run_id, Fault("the process of a backfill", step, detected, BY_AUTOMATION))
    assert detected is not None
    assert len(scene.variant.api.subflow_runs(run_id)) == 1
    assert scene.times_done()["load_raw"] == 1


def test_a_flow_run_that_died_with_its_worker_is_missed_and_goes_on(scene: Scene) -> None:
    """Nobody sees the death; when its heartbeats are missed, automations crash and resume it."""
    step = "dbt_test_staging"
    run_id = scene.start_interval()
    worker = psutil.Process(scene.variant.services["worker"].process.pid)
    detected = scene.kill_flow_run(run_id, step, worker)
    killed = "the worker and the flow-run process"
    scene.conclude(run_id, Fault(killed, step, detected, BY_AUTOMATION))
    assert detected is not None


def test_a_flow_run_outlives_its_server(scene: Scene) -> None:
    """While the server is away the steps go on; started again, it learns how the run ended."""
    step = "dbt_run_staging"
    run_id = scene.start_interval()
    server = psutil.Process(scene.variant.services["server"].process.pid)
    with fault_injection.frozen_step(scene.run, scene.stage.interval, step):
        fault_injection.kill([server])
    scene.conclude(run_id, Fault("the server", step, None, BY_RESTART))
    assert set(scene.times_done().values()) == {1}
