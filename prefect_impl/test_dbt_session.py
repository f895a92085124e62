"""dbt in this process: what a time-out leaves behind, without a server."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger
from prefect.settings import PREFECT_API_URL, temporary_settings

import dbt_session
import pipeline
from ecommerce_pipeline import steps
from ecommerce_pipeline.context import RunSettings, StepContext
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.dbt_runner.manifest import PROJECT_VARIABLE, project_folder
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_BY_NAME
from ecommerce_pipeline.storage import journal
from pipeline_verification.harness.control import fill_source

DAY = "2025-01-01"
MARTS = "dbt_run_marts"


@pytest.fixture(autouse=True)
def no_server() -> Iterator[None]:
    """Outside a flow the runner asks no server; the address keeps it from starting one."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        yield


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    """The context of a day whose steps before the marts are done."""
    run = RunDirectory(tmp_path / "run")
    run.make()
    url = f"sqlite:///{run.source_file}"
    fill_source(url, load_dataset("synthetic"), DAY)
    context = RunSettings(run=run, source_url=url).context(DataInterval.parse(DAY))
    for step in (*EXTRACT_STEPS, "load_raw"):
        steps.run(step, context)
    for step in ("dbt_run_staging", "dbt_snapshot"):
        run_dbt(step, context)
    return context


@pytest.fixture
def endless_project(tmp_path: Path) -> Path:
    """A copy of the dbt project in which one of the marts never ends."""
    project = tmp_path / "dbt_project"
    shutil.copytree(project_folder(), project, ignore=shutil.ignore_patterns("target", "logs"))
    model = project / "models" / "marts" / "dim_products.sql"
    endless = "(select count(*) from range(1000000000) as a, range(1000000) as b) > 0"
    model.write_text(f"select * from (\n{model.read_text()}\n) where {endless}\n")
    return project


def run_dbt(step: str, context: StepContext) -> dict[str, int]:
    """What the task does, without a flow."""
    with disable_run_logger():
        return dict(pipeline.run_dbt.fn(step, context))


def test_dbt_that_takes_too_long_leaves_no_writer(
    context: StepContext, endless_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its query is cancelled, its threads end, the file is free, and the retry succeeds."""
    threads = set(threading.enumerate())
    with monkeypatch.context() as patch:
        patch.setenv(PROJECT_VARIABLE, str(endless_project))
        patch.setattr(dbt_session, "GRACE_SECONDS", STEP_BY_NAME[MARTS].timeout_seconds - 3)
        with pytest.raises(PipelineError, match="took longer than 3 s and was stopped") as error:
            run_dbt(MARTS, context)
    assert error.value.retryable
    assert set(threading.enumerate()) <= threads
    by_another_process = "import duckdb, sys; duckdb.connect(sys.argv[1]).close()"
    subprocess.run([sys.executable, "-c", by_another_process, context.run.warehouse], check=True)
    assert run_dbt(MARTS, context)["dim_products"] == 82
    attempts = journal.read(context.run)[-2:]
    assert [(entry.step, entry.outcome) for entry in attempts] == [
        (MARTS, "failed"),
        (MARTS, "success"),
    ]
