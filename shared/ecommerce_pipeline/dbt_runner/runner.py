"""Running one dbt command in this process; it prints nothing and leaves no file open or locked.

dbt keeps state in module globals: run one command at a time in a process.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner.manifest import (
    WAREHOUSE_PATH,
    WAREHOUSE_VARIABLE,
    parse_if_changed,
    partial_parse_state,
    project_folder,
    read_manifest,
)
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import use_stated_environment
from ecommerce_pipeline.files.temporary import locked_folder

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult
    from dbt.contracts.graph.manifest import Manifest

# What dbt imports only once a command needs it. Imported before the fork, no child pays for it.
_LATE_MODULES = (
    "babel.dates",
    "dbt.adapters.duckdb",
    "dbt.adapters.duckdb.environments.local",
    "dbt.task.run",
    "dbt.task.snapshot",
    "dbt.task.test",
    "sqlparse",
)


def preload() -> None:
    """Import dbt, have the project parsed and fill dbt's caches, for children forked from here.

    A project that does not parse, or beside which nothing can be written, is left to the steps,
    which report it.
    """
    for module in _LATE_MODULES:
        importlib.import_module(module)
    with contextlib.suppress(PipelineError, OSError):
        _fill_caches()


def _fill_caches() -> None:
    # dbt's parser starts threads, and a fork has none of them, so that a child would wait for them
    # for ever. So a process of its own parses, and dbt is given the outcome here: with a manifest
    # it never parses, whatever happens to the project meanwhile. Not in ``preload``, whose frame,
    # and with it the manifest's semaphore, errors keep alive that the imports have caught.
    with locked_folder("pipeline-dbt-") as folder:
        manifest = read_manifest(parse_if_changed())
        command = ["parse", "--no-write-json"]
        if not invoke(
            command, folder=folder, target=folder, logs=folder, manifest=manifest
        ).success:
            gc.collect()  # the error kept dbt's semaphores, of whose loss Python would warn


def invoke(
    command: Sequence[str],
    *,
    folder: Path,
    target: Path,
    logs: Path,
    manifest: Manifest | None = None,
) -> dbtRunnerResult:
    """Run dbt with ``command`` on the warehouse of a run's folder; the result says how it went.

    Args:
        command: dbt's command and its options.
        folder: the run's folder, without links; the warehouse is in it.
        target: where artifacts and the state of partial parsing go.
        logs: the folder of dbt's log.
        manifest: the parsed project; by default dbt parses what changed since it last did.

    Raises:
        PipelineError: there is no dbt project where it should be.
    """
    project = project_folder()
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
    # dbt looks for its state in the target folder, which is new for each run's folder. With the one
    # that all runs share, not every run's first command parses the whole project.
    if state := partial_parse_state(project):
        arguments += ["--partial-parse-file-path", str(state)]
    # The warehouse's path in profiles.yml is relative to the working directory; see WAREHOUSE_PATH.
    with contextlib.chdir(folder), _stated_environment(), leaving_nothing_open():
        from dbt.cli.main import dbtRunner  # reads the environment, and a file .env into it

        return dbtRunner(manifest=manifest).invoke(arguments)


def warehouse_file(context: StepContext) -> Path:
    """The run's warehouse by the name under which dbt opens it, without links in its folder.

    DuckDB shares a database within a process only between equal names.
    """
    return context.run.path.resolve() / WAREHOUSE_PATH


@contextmanager
def _stated_environment() -> Iterator[None]:
    """Keep the caller's variables from dbt, nearly all of whose options are variables, too."""
    before = dict(os.environ)
    try:
        use_stated_environment()
        os.environ[WAREHOUSE_VARIABLE] = WAREHOUSE_PATH
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def leaving_nothing_open() -> Iterator[None]:
    """After the block, close dbt's log file and free the semaphores of its adapter.

    dbt expects its process to end after a command, and releases neither.
    """
    from dbt.adapters.factory import reset_adapters

    # The semaphores are in reference cycles, so that only a collection frees them. With dbt
    # imported there are nearly 200,000 objects, and visiting all of them takes 0.2 s. Frozen ones
    # are not visited, which also leaves their memory shared between the step server and its
    # children.
    gc.freeze()
    try:
        yield
    finally:
        log = logging.getLogger("file_log")
        for handler in list(log.handlers):
            log.removeHandler(handler)
            handler.close()
        reset_adapters()  # type: ignore[no-untyped-call]  # dbt leaves it without annotations
        gc.collect()
        gc.unfreeze()
