"""What the tests share: the forms of the pipeline, and a first day run in this process by each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.harness.variant import forms, pipeline_file
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.harness.control import advance_source, fill_source
from run import Dagster
from settings import Settings, dbt_resource

HERE = Path(__file__).parent
FIRST_DAY, SECOND_DAY = "2025-01-01", "2025-01-02"


@dataclass(frozen=True)
class Form:
    """One form of the pipeline.

    Attributes:
        name: the form's name, such as ``native``.
        module: its Python module.
    """

    name: str
    module: Any

    @property
    def definitions(self) -> dg.Definitions:
        """What Dagster loads."""
        definitions: dg.Definitions = self.module.defs
        return definitions

    @property
    def job(self) -> dg.JobDefinition:
        """The job of one interval."""
        return self.definitions.resolve_job_def("daily")

    @property
    def assets(self) -> dict[str, set[str]]:
        """The parents of each asset."""
        graph = self.definitions.resolve_asset_graph()
        return {
            "/".join(key.path): {"/".join(parent.path) for parent in graph.get(key).parent_keys}
            for key in graph.get_all_asset_keys()
        }

    def execute(
        self, run: RunDirectory, day: str, instance: dg.DagsterInstance | None = None
    ) -> dg.ExecuteInProcessResult:
        """Run one partition in this process; the source is the folder's ``source.db``."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("PIPELINE_RUN_DIR", str(run.path))
            return self.job.execute_in_process(
                partition_key=day, instance=instance, raise_on_error=False
            )


@dataclass(frozen=True)
class FirstRun:
    """A folder after the first day's run, with the run's result; its source has two days."""

    form: Form
    run: RunDirectory
    result: dg.ExecuteInProcessResult


def pytest_configure(config: pytest.Config) -> None:
    """Accept what dagster-dbt does with the context that it is given."""
    deprecated = "AssetExecutionContext.op is deprecated"
    config.addinivalue_line("filterwarnings", f"ignore:{deprecated}:DeprecationWarning")


@pytest.fixture(scope="session")
def shared_step_server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment, step_server.running() as address:
        environment.setenv(step_server.ENVIRONMENT_VARIABLE, str(address))
        yield


@pytest.fixture(scope="session", params=forms(HERE))
def form(request: pytest.FixtureRequest, shared_step_server: None) -> Form:
    return Form(request.param, import_module(pipeline_file(HERE, request.param).stem))


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, form: Form) -> FirstRun:
    run = RunDirectory(tmp_path_factory.mktemp(f"first-day-{form.name}"))
    url = f"sqlite:///{run.source_file}"
    fill_source(url, load_dataset("synthetic"), FIRST_DAY)
    result = form.execute(run, FIRST_DAY)
    advance_source(url, load_dataset("synthetic"), SECOND_DAY)
    return FirstRun(form, run, result)


@pytest.fixture(scope="session")
def services(first_run: FirstRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dagster]:
    """The services of the form, with the first day's folder."""
    folder = tmp_path_factory.mktemp("services") / "run"
    run = RunDirectory(shutil.copytree(first_run.run.path, folder, symlinks=True))
    variant = Dagster(first_run.form.name)
    before = set(psutil.Process().children(recursive=True))
    try:
        variant.start(RunSettings(run=run, source_url=f"sqlite:///{run.source_file}"))
        yield variant
    finally:
        variant.stop()
    if left := set(psutil.Process().children(recursive=True)) - before:
        pytest.fail(f"processes of the services are left: {left}")


@pytest.fixture
def run(first_run: FirstRun, tmp_path: Path) -> RunDirectory:
    folder = tmp_path / "run"
    shutil.copytree(first_run.run.path, folder, symlinks=True)
    return RunDirectory(folder)


def resources(run: RunDirectory, source_url: str = "") -> dict[str, Any]:
    """What the steps are given, for a run's folder."""
    return {
        "settings": Settings(run_dir=str(run.path), source_url=source_url),
        "dbt": dbt_resource(),
    }


def states(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """How each step that started ended."""
    ends = {dg.DagsterEventType.STEP_SUCCESS: "success", dg.DagsterEventType.STEP_FAILURE: "failed"}
    return {
        str(event.step_key): ends[event.event_type]
        for event in result.all_events
        if event.event_type in ends
    }
