"""Starts a variant, measures what intervals cost under it, and limits how long they may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime

import psutil

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage import journal
from measuring.plan import Metric, Values
from measuring.timeline import split
from pipeline_verification.harness.process_tree import process_tree
from pipeline_verification.harness.remote_variant import RemoteVariant

TIMEOUT_SECONDS = 900.0
STOP_TIMEOUT_SECONDS = 60.0
SECONDS = Metric("s", "seconds")
CPU_SECONDS = Metric("s", "CPU seconds")
SPLIT = {
    "waiting": Metric("s", "waiting"),
    "starting": Metric("s", "starting"),
    "running": Metric("s", "running"),
}


@contextmanager
def running_variant(name: str, form: str, run: RunDirectory) -> Iterator[RemoteVariant]:
    """Start a variant on the embedded source of the run's folder and stop it after the block.

    Raises:
        PipelineError: its environment is missing, or it does not become healthy.
    """
    run.path.mkdir(parents=True, exist_ok=True)
    variant = RemoteVariant(name, run.path / "host.log", form)
    settings = RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")
    try:
        variant.start(settings)
        yield variant
    finally:
        variant.stop()


def measure_intervals(
    variant: RemoteVariant, run: RunDirectory, intervals: Sequence[DataInterval], *, backfill: bool
) -> Values:
    """Run intervals through the tool's own API.

    Returns:
        Seconds from the trigger until the tool reports the end, divided into waiting, starting
        and running, and CPU seconds of the tool and everything below it.

    Raises:
        PipelineError: a run did not succeed, had other steps, or took longer than the limit.
    """
    # Two clocks: seconds by the monotonic one; the split by UTC, in which tools report times.
    cpu, begun, clock = tree_cpu_seconds(variant.pid), datetime.now(UTC), time.perf_counter()
    with time_limit(variant):
        if backfill:
            runs = variant.backfill(intervals)
        else:
            runs = [variant.run_interval(interval) for interval in intervals]
    seconds, ended = time.perf_counter() - clock, datetime.now(UTC)
    cpu = tree_cpu_seconds(variant.pid) - cpu
    raise_if_incomplete(runs, intervals)
    wanted = set(map(str, intervals))
    # The journal may have the same interval from an earlier case of this folder.
    entries = [e for e in journal.read(run) if e.interval in wanted and e.ended_at >= begun]
    parts = asdict(split((begun, ended), runs, entries))
    return {"seconds": seconds, "cpu_seconds": cpu, **parts}


def mean(costs: Sequence[Values]) -> Values:
    """The mean of each value."""
    return {name: sum(each[name] for each in costs) / len(costs) for name in costs[0]}


def raise_if_incomplete(runs: Sequence[IntervalRun], intervals: Sequence[DataInterval]) -> None:
    """Check that exactly the intervals ran, successfully, with the steps of the specification.

    Raises:
        PipelineError: one of these is not so.
    """
    if sorted(run.interval for run in runs) != sorted(map(str, intervals)):
        raise PipelineError(f"{len(runs)} of {len(intervals)} intervals ran", "read its logs")
    for run in runs:
        if run.state != SUCCESS:
            raise PipelineError(f"the run of {run.interval} is {run.tool_state}", "read its logs")
        if sorted(step.name for step in run.steps) != sorted(STEP_NAMES):
            names = ", ".join(step.name for step in run.steps)
            raise PipelineError(f"the run of {run.interval} had the steps {names}", "fix it")


def tree_cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it, ended ones included.

    The kernel counts in ticks, usually of 10 ms, and rounds each process's time down to them.
    """
    # children_*: the kernel adds an ended process's time to the process that waited for it, so
    # that even processes that begin and end between two calls are counted.
    total = 0.0
    for process in process_tree(psutil.Process(pid)):
        with suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def time_limit(variant: RemoteVariant, seconds: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """Stop the variant when the block takes longer than ``seconds``.

    Raises:
        PipelineError: the block took longer.
    """
    host, overdue = psutil.Process(variant.pid), threading.Event()

    def end() -> None:
        overdue.set()
        with suppress(psutil.Error):
            # Listed before the host ends: afterwards its descendants are no longer below it.
            tree = process_tree(host)
            host.terminate()
            for process in psutil.wait_procs(tree, timeout=STOP_TIMEOUT_SECONDS)[1]:
                with suppress(psutil.Error):
                    process.kill()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except PipelineError:
        # The host ended under the trigger, which says that it ended, but not that we ended it.
        if overdue.is_set():
            raise PipelineError(f"no end after {seconds:g} s", "read its logs") from None
        raise
    finally:
        timer.cancel()
