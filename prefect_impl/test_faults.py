"""SIGKILL of Prefect's processes in the middle of a step; the results are written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from constants import BACKFILL_DEPLOYMENT, BACKFILL_FLOW, PIPELINE_DEPLOYMENT, PIPELINE_FLOW
from ecommerce_pipeline.harness.variant import STEP_SERVER, forms
from ecommerce_pipeline.specification import STEP_NAMES
from pipeline_verification.harness.fault_injection import (
    DAYS,
    Fault,
    InterruptedDay,
    InterruptedRun,
    kill,
    wait_for,
)
from run import Prefect

BY_AUTOMATION = "itself: the automation resume-crashed-runs"
BY_SCHEDULING = "itself: the automation schedule-pending-runs-again"
BY_RUN = "itself: the automation, or where it misses the crash run.py"
BY_RESTART = "itself: the flow run went on, the service manager started the server again"


class InterruptedPrefect(InterruptedRun[Prefect]):
    """How Prefect's processes are found, and how its API shows a failure."""

    def step_process(self, step: str) -> psutil.Process | None:
        """In the native form every step runs in the flow run's own process."""
        if self.variant.form == STEP_SERVER:
            return super().step_process(step)
        return self.flow_run_process() if self.is_at_work(step) else None

    def start_interval(self) -> str:
        """Run the second day; return the flow run's id."""
        parameters = {"interval": str(self.day.interval)}
        return self.variant.api.create_run(PIPELINE_FLOW, PIPELINE_DEPLOYMENT, parameters)

    def flow_run_process(self) -> psutil.Process:
        """The one process of the worker that runs the flow."""
        (process,) = self.service("worker").children()
        return process

    def kill_flow_run(self, run_id: str, step: str, *others: psutil.Process) -> float | None:
        """SIGKILL it during a step; for how many seconds the API still shows it as running."""
        return self.kill_during(
            step,
            lambda: [*others, self.flow_run_process()],
            lambda: self.variant.api.read_run(run_id)["state_type"] != "RUNNING",
        )

    def end(self, run_id: str, fault: Fault) -> None:
        """Wait until the flow run has ended by itself; it must succeed without a notification."""
        self.variant.wait(run_id)
        self.record(fault)
        assert self.variant.api.read_run(run_id)["state_name"] == "Completed"
        assert '"kind": "failure"' not in self.run.notifications.read_text()


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> InterruptedDay:
    return InterruptedDay.prepare(tmp_path_factory.mktemp("day"))


@pytest.fixture(params=forms(Path(__file__).parent))
def interrupted(
    request: pytest.FixtureRequest, day: InterruptedDay, tmp_path: Path
) -> Iterator[InterruptedPrefect]:
    with InterruptedPrefect.started(Prefect(request.param), day, tmp_path / "run") as run:
        yield run


@pytest.mark.parametrize("step", ["extract_orders", "dbt_run_marts"])
def test_a_killed_flow_run_goes_on_by_itself(interrupted: InterruptedPrefect, step: str) -> None:
    """The worker detects the death, and an automation resumes the run at the interrupted step."""
    run_id = interrupted.start_interval()
    detected = interrupted.kill_flow_run(run_id, step)
    interrupted.end(run_id, Fault("the flow-run process", step, detected, BY_AUTOMATION))
    assert detected is not None
    assert interrupted.times_done()["check_source_freshness"] == 1
    assert interrupted.times_done()[step] == 1
    recorded = interrupted.variant.api.interval_run(interrupted.variant.api.read_run(run_id))
    assert sorted(done.name for done in recorded.steps) == sorted(STEP_NAMES)
    assert {done.state for done in recorded.steps} == {"success"}


def test_a_killed_backfill_goes_on_by_itself(interrupted: InterruptedPrefect) -> None:
    """A backfill resumes in the middle of a day, in the same subflow run."""
    step = "dbt_run_staging"
    parameters = {"first_day": DAYS[1], "last_day": DAYS[1]}
    run_id = interrupted.variant.api.create_run(BACKFILL_FLOW, BACKFILL_DEPLOYMENT, parameters)
    detected = interrupted.kill_flow_run(run_id, step)
    interrupted.end(run_id, Fault("the process of a backfill", step, detected, BY_AUTOMATION))
    assert detected is not None
    assert len(interrupted.variant.api.subflow_runs(run_id)) == 1
    assert interrupted.times_done()["load_raw"] == 1


def test_a_flow_run_that_died_with_its_worker_is_missed_and_goes_on(
    interrupted: InterruptedPrefect,
) -> None:
    """No process detects the death; automations crash and resume it once heartbeats are missing."""
    step = "dbt_test_staging"
    run_id = interrupted.start_interval()
    worker = interrupted.service("worker")
    detected = interrupted.kill_flow_run(run_id, step, worker)
    killed = "the worker and the flow-run process"
    interrupted.end(run_id, Fault(killed, step, detected, BY_AUTOMATION))
    assert detected is not None


def test_a_flow_run_that_never_started_is_started(interrupted: InterruptedPrefect) -> None:
    """A worker that dies after its claim leaves the run Pending; an automation schedules it."""
    api = interrupted.variant.api
    run_id = interrupted.start_interval()
    wait_for(lambda: api.read_run(run_id)["state_type"] == "PENDING", "the worker's claim")
    worker = interrupted.service("worker")
    kill([worker, *worker.children(recursive=True)])
    assert api.read_run(run_id)["state_type"] == "PENDING"
    interrupted.end(run_id, Fault("the worker", "before the first step", None, BY_SCHEDULING))
    assert set(interrupted.times_done().values()) == {1}


def test_a_flow_run_outlives_its_server(interrupted: InterruptedPrefect) -> None:
    """While the server is down the steps keep running; the run's end is reported afterwards."""
    step = "dbt_run_staging"
    run_id = interrupted.start_interval()
    server = interrupted.service("server")
    with interrupted.frozen_step(step):
        kill([server])
    interrupted.end(run_id, Fault("the server", step, None, BY_RESTART))
    assert set(interrupted.times_done().values()) == {1}


def test_a_flow_run_that_dies_after_its_servers_restart_goes_on(
    interrupted: InterruptedPrefect,
) -> None:
    """A restarted server may not react to the crash; the run is resumed all the same."""
    step = "dbt_run_staging"
    run_id = interrupted.start_interval()
    with interrupted.frozen_step(step):
        kill([interrupted.service("server")])
        interrupted.variant.services["server"].restart_if_exited()
        wait_for(interrupted.variant.api.is_healthy, "the server's restart")
        kill([interrupted.flow_run_process()])
    killed = "the server, and after its restart the flow-run process"
    interrupted.end(run_id, Fault(killed, step, None, BY_RUN))
    assert interrupted.times_done()["load_raw"] == 1
