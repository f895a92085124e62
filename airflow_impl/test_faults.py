"""SIGKILL of Airflow's processes in the middle of a step; what was measured is written down.

Who starts a dead service again is ``run.py``, as a service manager would; Airflow does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from api import UnreachableError
from ecommerce_pipeline.harness.variant import started
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS
from pipeline_verification.harness import fault_injection
from pipeline_verification.harness.fault_injection import Fault, Stage
from run import Airflow

BY_RETRY = "itself: the scheduler tried the task again"
BY_RESTART = "itself: the service manager started the scheduler again, which tried the task again"
BY_ITS_RESTART = "itself: the task went on, the service manager started the API server again"


@dataclass(frozen=True)
class Scene:
    """A running variant, in a folder whose second day is about to be interrupted."""

    stage: Stage
    run: RunDirectory
    variant: Airflow

    def process(self, service: str) -> psutil.Process:
        """The main process of a service."""
        return psutil.Process(self.variant.services[service].process.pid)

    def task_process(self, instance: dict[str, Any]) -> psutil.Process:
        """The process that runs a task instance; its title is the instance's id."""
        title = f"airflow worker -- {instance['id']}"
        found = psutil.process_iter(["cmdline"])
        (process,) = [p for p in found if " ".join(p.info["cmdline"] or []).strip() == title]
        return process

    def instance(self, dag_run: str, step: str) -> dict[str, Any]:
        """The task instance of a step, as the API tells of it."""
        mapped = step in EXTRACT_STEPS
        task = f"extract/{EXTRACT_STEPS.index(step)}" if mapped else step
        return self.variant.api.get(f"{dag_run}/taskInstances/{task}")

    def kill(
        self, step: str, victims: Callable[[dict[str, Any]], Sequence[psutil.Process]]
    ) -> tuple[str, float | None]:
        """SIGKILL the victims while the step is at work; a dead service is started again at once.

        Gives the Dag run, and after how many seconds the API told of another state or another try.
        By then the old step must have ended.
        """
        dag_run = self.variant.trigger(self.stage.interval)
        with fault_injection.frozen_step(self.run, self.stage.interval, step) as process:
            before = self.instance(dag_run, step)
            moment = fault_injection.kill(victims(before))
        told = fault_injection.seconds_until(
            lambda: self._tells_of_a_change(dag_run, step, before),
            fault_injection.PATIENCE_SECONDS,
            since=moment,
        )
        assert fault_injection.has_ended(process), "the old step is still at work beside its retry"
        return dag_run, told

    def conclude(self, dag_run: str, fault: Fault) -> None:
        """Wait for the run's end; it succeeded and left what a run left alone leaves."""
        ended = ("success", "failed")
        self.variant.wait_until(lambda: self.variant.api.get(dag_run)["state"] in ended)
        differences = self.stage.differences(self.run)
        fault_injection.note("airflow", replace(fault, equal=not differences))
        assert self.variant.api.get(dag_run)["state"] == "success"
        assert differences == []

    def _tells_of_a_change(self, dag_run: str, step: str, before: dict[str, Any]) -> bool:
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
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return fault_injection.prepare_stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture
def scene(stage: Stage, tmp_path: Path) -> Iterator[Scene]:
    settings = stage.copy_to(tmp_path / "run")
    with started(Airflow(), settings) as variant:
        yield Scene(stage, settings.run, variant)


@pytest.mark.parametrize("step", ["extract_orders", "dbt_run_marts"])
def test_a_killed_task_is_tried_again(scene: Scene, step: str) -> None:
    """The worker sees the task's death and the scheduler tries that task again, and no other."""
    dag_run, told = scene.kill(step, lambda instance: [scene.task_process(instance)])
    scene.conclude(dag_run, Fault("the task's process", step, told, BY_RETRY))
    assert told is not None
    assert list(scene.tries(dag_run).values()) == [2]


def test_the_task_of_a_killed_worker_is_tried_again(scene: Scene) -> None:
    """The scheduler misses the heartbeats and tries again; the orphan has ended by then."""
    step = "dbt_test_staging"
    dag_run, told = scene.kill(step, lambda i: scene.task_process(i).parents()[:1])
    scene.conclude(dag_run, Fault("the LocalExecutor worker", step, told, BY_RETRY))
    assert told is not None
    assert scene.tries(dag_run) == {step: 2}


def test_a_scheduler_killed_with_all_it_started_is_started_again(scene: Scene) -> None:
    """The new scheduler finds the task without a process and tries it again."""
    step = "dbt_run_staging"
    scheduler = scene.process("scheduler")
    dag_run, told = scene.kill(step, lambda _: [scheduler, *scheduler.children(recursive=True)])
    killed = "the scheduler with its workers and tasks"
    scene.conclude(dag_run, Fault(killed, step, told, BY_RESTART))
    assert told is not None
    assert scene.tries(dag_run) == {step: 2}


def test_a_scheduler_killed_alone_leaves_no_task_beside_its_retry(scene: Scene) -> None:
    """What the dead scheduler left behind is killed before the new one starts."""
    step = "dbt_snapshot"
    dag_run, told = scene.kill(step, lambda _: [scene.process("scheduler")])
    scene.conclude(dag_run, Fault("the scheduler alone", step, told, BY_RESTART))
    assert told is not None
    assert scene.tries(dag_run) == {step: 2}


def test_steps_outlive_the_api_server(scene: Scene) -> None:
    """While the API server is away the step goes on; started again, it hears how that ended."""
    step = "dbt_run_marts"
    dag_run, _ = scene.kill(step, lambda _: [scene.process("api-server")])
    scene.conclude(dag_run, Fault("the API server", step, None, BY_ITS_RESTART))
    assert scene.tries(dag_run) == {}
