"""Running dbt in the process of a flow run: its settings, its warehouse, and an end in time."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner import native
from ecommerce_pipeline.dbt_runner.manifest import (
    WAREHOUSE_VARIABLE,
    parse_if_changed,
    read_manifest,
)
from ecommerce_pipeline.dbt_runner.runner import leaving_nothing_open
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.specification import STEP_BY_NAME
from ecommerce_pipeline.storage import warehouse

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

# So long before Prefect's time-out dbt's queries are cancelled, and dbt ends by itself. Prefect's
# own would end the call only, and leave dbt's threads at work on the warehouse.
GRACE_SECONDS = 30.0
POLL_SECONDS = 0.1
# The runner's default level is Prefect's, whose WARNING dbt does not know.
OPTIONS = {"DBT_WRITE_JSON": "false", "DBT_LOG_LEVEL": "info"}


@contextmanager
def dbt_session(step: str, context: StepContext) -> Iterator[Manifest]:
    """For the block, in which a task runs the step's dbt command in this process.

    Yields the parsed project. With it neither dbt writes its manifest for each command nor the
    runner reads it.

    Raises:
        PipelineError: dbt cannot parse the project, the warehouse stays locked, or dbt took too
            long and was stopped.
    """
    use_environment({**native.environment(context), **OPTIONS})
    seconds = STEP_BY_NAME[step].timeout_seconds - GRACE_SECONDS
    # dbt closes its connection after each node. With ours open the process keeps the file's lock
    # between two nodes, and dbt need not open the file for every one.
    file = Path(os.environ[WAREHOUSE_VARIABLE])
    with leaving_nothing_open(), warehouse.connect(file), dbt_time_out(step, seconds):
        parsed = parse_if_changed()
        yield parsed_project(parsed, (parsed / "manifest.json").stat().st_mtime_ns)


@lru_cache(maxsize=1)
def parsed_project(folder: Path, changed_at_ns: int) -> Manifest:
    """dbt's object of the project that was parsed then; read once by a flow run."""
    return read_manifest(folder)


atexit.register(parsed_project.cache_clear)  # else DuckDB's module complains at Python's end


def use_environment(variables: Mapping[str, str]) -> None:
    """Give dbt, and the runner's settings, these variables instead of the caller's."""
    for name in [name for name in os.environ if name.startswith("DBT_")]:
        del os.environ[name]  # nearly all of dbt's options are variables, too
    os.environ.update(variables)


@contextmanager
def dbt_time_out(step: str, seconds: float) -> Iterator[None]:
    """For the block, in which dbt runs, cancel all its queries once it has taken too long.

    Raises:
        PipelineError: it took too long.
    """
    has_ended = threading.Event()
    is_late = threading.Event()

    def watch() -> None:
        if not has_ended.wait(seconds):
            is_late.set()
        while is_late.is_set() and not has_ended.wait(POLL_SECONDS):  # each node has its own query
            cancel_queries()

    watcher = threading.Thread(target=watch, name="dbt-time-out", daemon=True)
    watcher.start()
    problem: Exception | None = None
    try:
        yield
    except Exception as error:
        if not is_late.is_set():
            raise
        problem = error
    finally:
        has_ended.set()
        watcher.join()
    if is_late.is_set():
        raise PipelineError(
            f"{step} took longer than {seconds:g} s and was stopped",
            "find out what it waited for, or raise the step's time-out",
            retryable=True,
        ) from problem


def cancel_queries() -> None:
    """Interrupt what dbt's open connections do; dbt closes each of them then."""
    from dbt.adapters.factory import FACTORY

    adapters: dict[str, Any] = dict(FACTORY.adapters)
    for connections in (adapter.connections for adapter in adapters.values()):
        with connections.lock:
            for connection in connections.thread_connections.values():
                # The adapter's own cancel_open_connections opens those that are not open yet, and
                # nobody would close them.
                if connection.state == "open":
                    with suppress(AttributeError, duckdb.Error):  # it is closed meanwhile
                        connections.cancel(connection)
