"""Running one dbt command in this process, without a word on the terminal or a lock left behind.

dbt keeps state in module globals: run one command at a time in a process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import multiprocessing
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import ecommerce_pipeline
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult

PROJECT_VARIABLE = "PIPELINE_DBT_PROJECT"
WAREHOUSE_VARIABLE = "PIPELINE_WAREHOUSE"  # read by profiles.yml

# What dbt imports only once a command needs it.
_LATE_MODULES = (
    "babel.dates",
    "dbt.adapters.duckdb",
    "dbt.adapters.duckdb.environments.local",
    "dbt.task.run",
    "dbt.task.snapshot",
    "dbt.task.test",
    "sqlparse",
)
_PARSED_PROJECT = "partial_parse.msgpack"

# Where ``preload`` parsed a project; the folder lives as long as the process.
_preloaded: dict[Path, tempfile.TemporaryDirectory[str]] = {}


def preload() -> None:
    """Import dbt and parse the project once, so that children forked from here need do neither.

    A project that does not parse is left for the step to report.
    """
    for module in _LATE_MODULES:
        importlib.import_module(module)
    with contextlib.suppress(PipelineError):
        project = project_folder()
        folder = tempfile.TemporaryDirectory(prefix="dbt-parsed-")
        # dbt's parser starts threads, for which a forked child would wait in vain. So it runs in
        # a process of its own, and this one only reads what it left, which fills dbt's caches.
        parser = multiprocessing.get_context("fork").Process(
            target=_parse, args=[project, Path(folder.name)]
        )
        parser.start()
        parser.join()
        if (Path(folder.name) / _PARSED_PROJECT).exists():
            _parse(project, Path(folder.name))
            _preloaded[project] = folder


def invoke(context: StepContext, command: Sequence[str]) -> dbtRunnerResult:
    """Run dbt with ``command`` on the run's warehouse; the result says how it went.

    Artifacts and the state of partial parsing go to ``context.run.dbt_target``, dbt's log to
    ``log_file(context)``.

    Raises:
        PipelineError: there is no dbt project where it should be.
    """
    project = project_folder()
    if project in _preloaded:
        parsed = Path(_preloaded[project].name) / _PARSED_PROJECT
        command = [*command, "--partial-parse-file-path", str(parsed)]
    # The same relative path in every run folder, as dbt parses anew for another.
    with contextlib.chdir(warehouse_file(context).parent):
        return _invoke(
            command, project, target=context.run.dbt_target, logs=log_file(context).parent
        )


def warehouse_file(context: StepContext) -> Path:
    """The run's warehouse by the name under which dbt opens it, without links in its folder.

    DuckDB shares a database within a process only between equal names.
    """
    return context.run.path.resolve() / context.run.warehouse.name


def log_file(context: StepContext) -> Path:
    """dbt's own log of the interval's commands, with every statement it ran."""
    return context.run.dbt_target / "logs" / context.interval.label / "dbt.log"


def project_folder() -> Path:
    """The dbt project: ``PIPELINE_DBT_PROJECT``, else ``dbt_project/`` of this checkout.

    Raises:
        PipelineError: there is no dbt project in that folder.
    """
    checkout = Path(ecommerce_pipeline.__file__).parents[2]
    folder = Path(os.environ.get(PROJECT_VARIABLE) or checkout / "dbt_project").absolute()
    if not (folder / "dbt_project.yml").is_file():
        raise PipelineError(
            f"{folder} holds no dbt project", f"set {PROJECT_VARIABLE} to the folder that does"
        )
    return folder


def _parse(project: Path, folder: Path) -> None:
    _invoke(["parse", "--no-write-json"], project, target=folder, logs=folder)


def _invoke(command: Sequence[str], project: Path, *, target: Path, logs: Path) -> dbtRunnerResult:
    from dbt.cli.main import dbtRunner

    arguments = [
        *command,
        *("--project-dir", str(project)),
        *("--profiles-dir", str(project)),
        *("--target-path", str(target)),
        *("--log-path", str(logs)),
        *("--log-level", "none"),
        *("--log-level-file", "debug"),
        "--no-print",
    ]
    with _environment_kept(), _leaving_nothing_open():
        os.environ[WAREHOUSE_VARIABLE] = "warehouse.duckdb"
        return dbtRunner().invoke(arguments)


@contextmanager
def _environment_kept() -> Iterator[None]:
    """After the block the environment is as it was; dbt reads a file ``.env`` into it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _leaving_nothing_open() -> Iterator[None]:
    """After the block, close dbt's log file and free the semaphores of its adapter."""
    from dbt.adapters.factory import reset_adapters

    try:
        yield
    finally:
        log = logging.getLogger("file_log")
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()
        reset_adapters()  # type: ignore[no-untyped-call]  # dbt leaves it without annotations
        gc.collect()
