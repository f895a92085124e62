"""A Python step of the native form, in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from own_process import call
from pipeline_verification.harness.control import fill_source

STEP = "check_source_freshness"


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    """A step's arguments on a source that has one day."""
    run = RunDirectory(tmp_path)
    url = f"sqlite:///{run.source_file}"
    fill_source(url, load_dataset("synthetic"), "2025-01-01")
    return StepContext(run, DataInterval.parse("2025-01-01"), source_url=url)


@contextmanager
def silent_server() -> Iterator[str]:
    """The URL of a PostgreSQL server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql://reader@127.0.0.1:{server.getsockname()[1]}/shop"


def test_the_result_is_that_of_the_step(context: StepContext) -> None:
    """What the step's function returns in the other process is returned here."""
    result = call(STEP, context, timeout_seconds=60)
    assert result.details["staleness_seconds"] == 0


def test_an_error_is_the_steps_own(context: StepContext) -> None:
    """A step's error is raised here with its message, its hint and whether it may be retried."""
    stale = replace(context, interval=DataInterval.parse("2025-02-01"))
    with pytest.raises(PipelineError, match="the source is stale") as caught:
        call(STEP, stale, timeout_seconds=60)
    assert not caught.value.retryable


def test_a_step_that_takes_too_long_is_killed(context: StepContext) -> None:
    """At the time-out the step's process is killed, and the failure may be retried."""
    with silent_server() as url, pytest.raises(PipelineError, match="took longer than") as caught:
        call(STEP, replace(context, source_url=url), timeout_seconds=0.5)
    assert caught.value.retryable
    assert multiprocessing.active_children() == []


def test_a_killed_process_is_reported(context: StepContext) -> None:
    """The death of the step's process is a failure that may be retried."""

    def kill() -> None:
        assert wait_until(multiprocessing.active_children, timeout_seconds=30)
        (child,) = multiprocessing.active_children()
        os.kill(child.pid or 0, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    with silent_server() as url, pytest.raises(PipelineError, match="was killed") as caught:
        call(STEP, replace(context, source_url=url), timeout_seconds=60)
    killer.join()
    assert caught.value.retryable
