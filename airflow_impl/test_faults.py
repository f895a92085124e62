"""SIGKILL of Airflow's processes in the middle of a step; the results are written.

Who starts a dead service again is ``run.py``, as a service manager would; Airflow does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest

from api import UnreachableError
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_BY_NAME
from pipeline_verification.harness.fault_injection import (
    Fault,
    InterruptedDay,
    InterruptedRun,
)
from run import DAG, Airflow

BY_RETRY = "itself: the scheduler tried the task again"
BY_RESTART = "itself: the service manager started the scheduler again, which tried the task again"
BY_ITS_RESTART = "itself: the task went on, the service manager started the API server again"
BY_HEARTBEAT = "itself: the API server was back too late for a heartbeat, the task was tried again"


class InterruptedAirflow(InterruptedRun[Airflow]):
    """How Airflow's processes are found, and how its API shows a failure."""

    def step_process(self, step: str) -> psutil.Process | None:
        """The process at work on a step: natively dbt with the warehouse open, or the task."""
        if self.variant.form == STEP_SERVER:
            return super().step_process(step)
        if step in EXTRACT_STEPS:
            (dag_run,) = self.variant.api.get(f"{DAG}/dagRuns")["dag_runs"]
            instance = self.instance(f"{DAG}/dagRuns/{quote(dag_run['dag_run_id'])}", step)
            return self.task_process(instance) if instance["state"] == "running" else None
        _, selector = STEP_BY_NAME[step].arguments
        for process in self.service("scheduler").children(recursive=True):
            with suppress(psutil.Error):
                files = {file.path for file in process.open_files()}
                if selector in process.cmdline() and str(self.run.warehouse) in files:
                    return process
        return None

    def task_process(self, instance: dict[str, Any]) -> psutil.Process:
        """The process that runs a task instance; its title is the instance's id."""
        title = f"airflow worker -- {instance['id']}"
        found = psutil.process_iter(["cmdline"])
        (process,) = [p for p in found if " ".join(p.info["cmdline"] or []).strip() == title]
        return process

    def instance(self, dag_run: str, step: str) -> dict[str, Any]:
        """The task instance of a step, as the API shows it."""
        mapped = step in EXTRACT_STEPS
        task = f"extract/{EXTRACT_STEPS.index(step)}" if mapped else step
        return self.variant.api.get(f"{dag_run}/taskInstances/{task}")

    def kill(
        self, step: str, victims: Callable[[dict[str, Any]], Sequence[psutil.Process]]
    ) -> tuple[str, float | None]:
        """SIGKILL the victims while the step is at work; a dead service is restarted at once.

        Returns:
            The Dag run, and after how many seconds the API showed another state or another try.
        """
        dag_run = self.variant.trigger(self.day.interval)
        before: dict[str, Any] = {}

        def chosen() -> Sequence[psutil.Process]:
            before.update(self.instance(dag_run, step))
            return victims(before)

        # No grace: the old step must not be at work beside its retry.
        detected = self.kill_during(
            step, chosen, lambda: self._has_changed(dag_run, step, before), grace_seconds=0
        )
        return dag_run, detected

    def wait(self, dag_run: str) -> None:
        """Wait for the run's end."""
        ended = ("success", "failed")
        self.variant.wait_until(lambda: self.variant.api.get(dag_run)["state"] in ended, "the run")

    def end(self, dag_run: str, fault: Fault) -> None:
        """Wait for the run's end; it must succeed with the data of an undisturbed run."""
        self.wait(dag_run)
        self.record(fault)
        assert self.variant.api.get(dag_run)["state"] == "success"

    def _has_changed(self, dag_run: str, step: str, before: dict[str, Any]) -> bool:
        for service in self.variant.services.values():
            service.restart_if_exited()
        try:
            now = self.instance(dag_run, step)
        except UnreachableError:
            return False
        return (now["state"], now["try_number"]) != (before["state"], before["try_number"])

    def tries(self, dag_run: str) -> dict[str, int]:
        """How often each task that did not succeed at once was tried."""
        instances = self.variant.api.get(f"{dag_run}/taskInstances", limit=100)["task_instances"]
        return {i["task_id"]: i["try_number"] for i in instances if i["try_number"] != 1}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> InterruptedDay:
    return InterruptedDay.prepare(tmp_path_factory.mktemp("day"))


@pytest.fixture(params=[NATIVE, STEP_SERVER])
def interrupted(
    request: pytest.FixtureRequest, day: InterruptedDay, tmp_path: Path
) -> Iterator[InterruptedAirflow]:
    with InterruptedAirflow.started(Airflow(request.param), day, tmp_path / "run") as run:
        yield run


@pytest.mark.parametrize("step", ["extract_orders", "dbt_run_marts"])
def test_a_killed_task_is_tried_again(interrupted: InterruptedAirflow, step: str) -> None:
    """The worker detects the task's death, and the scheduler retries that task and no other."""
    dag_run, detected = interrupted.kill(
        step, lambda instance: [interrupted.task_process(instance)]
    )
    interrupted.end(dag_run, Fault("the task's process", step, detected, BY_RETRY))
    assert detected is not None
    assert list(interrupted.tries(dag_run).values()) == [2]


def test_the_task_of_a_killed_worker_is_tried_again(interrupted: InterruptedAirflow) -> None:
    """The scheduler misses the heartbeats and tries again; the orphan has ended by then."""
    step = "dbt_test_staging"
    dag_run, detected = interrupted.kill(step, lambda i: interrupted.task_process(i).parents()[:1])
    interrupted.end(dag_run, Fault("the LocalExecutor worker", step, detected, BY_RETRY))
    assert detected is not None
    assert interrupted.tries(dag_run) == {step: 2}


def test_a_scheduler_killed_with_all_it_started_is_started_again(
    interrupted: InterruptedAirflow,
) -> None:
    """The new scheduler finds the task without a process and tries it again."""
    step = "dbt_run_staging"
    scheduler = interrupted.service("scheduler")
    dag_run, detected = interrupted.kill(
        step, lambda _: [scheduler, *scheduler.children(recursive=True)]
    )
    killed = "the scheduler with its workers and tasks"
    interrupted.end(dag_run, Fault(killed, step, detected, BY_RESTART))
    assert detected is not None
    assert interrupted.tries(dag_run) == {step: 2}


def test_a_scheduler_killed_alone_leaves_no_task_beside_its_retry(
    interrupted: InterruptedAirflow,
) -> None:
    """What the dead scheduler left behind is killed before the new one starts."""
    step = "dbt_snapshot"
    dag_run, detected = interrupted.kill(step, lambda _: [interrupted.service("scheduler")])
    interrupted.end(dag_run, Fault("the scheduler alone", step, detected, BY_RESTART))
    assert detected is not None
    assert interrupted.tries(dag_run) == {step: 2}


def test_steps_outlive_the_api_server(interrupted: InterruptedAirflow) -> None:
    """While the API server is down the step keeps running, and its end is reported afterwards.

    Only where the server is away for longer than a heartbeat may take, the task is tried again.
    """
    step = "dbt_run_marts"
    dag_run, _ = interrupted.kill(step, lambda _: [interrupted.service("api-server")])
    interrupted.wait(dag_run)
    tries = interrupted.tries(dag_run)
    completed_by = BY_HEARTBEAT if tries else BY_ITS_RESTART
    interrupted.end(dag_run, Fault("the API server", step, None, completed_by))
    assert tries in ({}, {step: 2})
