"""Running one dbt command in this process, without a word on the terminal or a lock left behind.

dbt keeps state in module globals: run one command at a time in a process.
"""

from __future__ import annotations

import importlib
import logging
import os
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
    "dbt.cli.main",
    "dbt.task.run",
    "dbt.task.snapshot",
    "dbt.task.test",
    "sqlparse",
)


def preload() -> None:
    """Import dbt and what its commands import late, so that forked children need not."""
    for module in _LATE_MODULES:
        importlib.import_module(module)


def invoke(context: StepContext, command: Sequence[str]) -> dbtRunnerResult:
    """Run dbt with ``command`` on the run's warehouse; the result says how it went.

    Artifacts and the state of partial parsing go to ``context.run.dbt_target``, dbt's log to
    ``log_file(context)``.

    Raises:
        PipelineError: there is no dbt project where it should be.
    """
    from dbt.cli.main import dbtRunner

    project = str(project_folder())
    arguments = [
        *command,
        *("--project-dir", project),
        *("--profiles-dir", project),
        *("--target-path", str(context.run.dbt_target)),
        *("--log-path", str(log_file(context).parent)),
        *("--log-level", "none"),
        *("--log-level-file", "debug"),
        "--no-print",
    ]
    with _environment(WAREHOUSE_VARIABLE, str(context.run.warehouse)), _closed_log():
        return dbtRunner().invoke(arguments)


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


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable for the block; afterwards the environment is as it was.

    dbt reads a file ``.env`` of the working folder or above into it.
    """
    before = dict(os.environ)
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _closed_log() -> Iterator[None]:
    """After the block, close the log file, which dbt leaves open."""
    try:
        yield
    finally:
        log = logging.getLogger("file_log")
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()
