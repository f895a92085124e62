"""The process of a step in the native form: its time limit, and what becomes of its dbt."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import dagster as dg
import psutil
import pytest

import pipeline
import step_process
from conftest import resources, states
from ecommerce_pipeline.dbt_runner.command import PARENT_VARIABLE
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.harness.variant import NATIVE
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_BY_NAME
from ecommerce_pipeline.storage import journal
from settings import PIPELINE_DBT


class ShortStep:
    """A step with another time-out."""

    timeout_seconds = 0.2


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_process, "STEP_BY_NAME", dict.fromkeys(STEP_BY_NAME, ShortStep))


def ignore_errors() -> None:
    """Run longer than any limit, as a query does that looks at no signal."""
    with step_process.time_limit("load_raw"):
        while True:
            with suppress(PipelineError):
                time.sleep(60)


@pytest.mark.usefixtures("short_steps")
def test_a_step_is_interrupted_at_its_time_limit() -> None:
    """The error may be retried, and nothing is left of the limit."""

    def step() -> None:
        with step_process.time_limit("load_raw"):
            time.sleep(60)

    with pytest.raises(PipelineError, match="load_raw took longer than") as caught:
        step()
    assert caught.value.retryable
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.usefixtures("short_steps")
def test_a_step_that_cannot_be_interrupted_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process exits soon after the limit, as Dagster's process of the step would."""
    monkeypatch.setattr(step_process, "GRACE_SECONDS", 0.5)
    step = multiprocessing.get_context("fork").Process(target=ignore_errors)
    step.start()
    step.join(60)
    assert step.exitcode == 1


@pytest.mark.usefixtures("short_steps")
@pytest.mark.parametrize("form", [NATIVE], indirect=True)
def test_dbt_is_killed_at_the_steps_time_limit(run: RunDirectory) -> None:
    """No dbt is left when a dbt step's time is up; the step is tried as often as specified."""
    result = dg.materialize(
        [pipeline.dbt_run_staging],
        partition_key="2025-01-01",
        resources=resources(run),
        raise_on_error=False,
    )
    assert states(result) == {"dbt_run_staging": "failed"}
    last = journal.read(run)[-1]
    assert "took longer" in str(last.details["error"])
    assert result.retry_attempts_for_node("dbt_run_staging") == 2
    commands = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    assert not [command for command in commands if str(PIPELINE_DBT) in command]


def test_dbt_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """The executable that DbtCliResource starts does not outlive a step that is killed."""
    project = tmp_path / "dbt_project.yml"
    os.mkfifo(project)  # dbt waits for its content
    starter = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    options = [f"--project-dir={tmp_path}", f"--profiles-dir={tmp_path}"]
    command = [sys.executable, "-c", starter, str(PIPELINE_DBT), "parse", *options]
    with (
        subprocess.Popen(command, cwd=tmp_path) as step,
        project.open("w"),  # returns when dbt reads
    ):
        (dbt,) = psutil.Process(step.pid).children()
        step.kill()
        assert wait_until(lambda: not dbt.is_running(), timeout_seconds=30)


def test_dbt_does_not_start_for_a_process_that_has_ended(tmp_path: Path) -> None:
    """A step that is killed while its dbt starts leaves no dbt that begins to work afterwards."""
    other = {PARENT_VARIABLE: "1"}
    ended = subprocess.run([PIPELINE_DBT, "debug"], env=other, cwd=tmp_path, check=False)
    assert ended.returncode == -signal.SIGKILL


def test_the_version_is_told_without_dbt() -> None:
    """DbtCliResource asks for it before every command; dbt would take seconds, and go online."""
    told = subprocess.run([PIPELINE_DBT, "--version"], capture_output=True, text=True, check=True)
    assert told.stdout.split()[-1].startswith("1.12.")
