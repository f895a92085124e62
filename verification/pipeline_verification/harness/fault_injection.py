"""Killing a variant's processes in the middle of a step, and noting what became of the run.

A fault test interrupts the second of two days. The control prepares the folder up to there and
also runs the second day uninterrupted; after the recovery both warehouses must be equal. The
control and this module need ``tenacity`` and ``psutil`` in the variant's test group.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.files.atomic import hidden_sibling
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import journal
from pipeline_verification.compare import Difference, compare
from pipeline_verification.harness.control import (
    advance_source,
    fill_source,
    interval_of,
    run_control,
)
from pipeline_verification.harness.environments import ROOT

DAYS = ("2025-01-01", "2025-01-02")
SCALE = 20  # large enough that every step can be caught at work
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.01
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault test measured.

    Attributes:
        killed: what got SIGKILL, such as ``the flow-run process``.
        during: the step that was at work.
        detected_seconds: from SIGKILL until the tool's own API told of it; None for never.
        completed_by: ``itself``, or the documented command that completed the run.
        equal: whether the warehouse equals the uninterrupted one, value for value.
    """

    killed: str
    during: str
    detected_seconds: float | None
    completed_by: str
    equal: bool = False


@dataclass(frozen=True, slots=True)
class Stage:
    """A run's folder before the interrupted interval, and the same after a run left alone."""

    before: RunDirectory
    after: RunDirectory
    interval: DataInterval

    def copy_to(self, folder: Path) -> RunSettings:
        """A fresh copy of the folder before the interval, and the settings to run it there."""
        run = RunDirectory(folder)
        shutil.copytree(self.before.path, run.path, symlinks=True)
        return RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")

    def differences(self, run: RunDirectory) -> list[Difference]:
        """In what a recovered run's warehouse and published copy differ from the one left alone."""
        copies = [folder.published / "warehouse.duckdb" for folder in (run, self.after)]
        return [*compare(run.warehouse, self.after.warehouse), *compare(copies[0], copies[1])]

    def times_done(self, run: RunDirectory) -> Counter[str]:
        """How often each step of the interval was done in a run's folder."""
        entries = journal.read(run, self.interval)
        return Counter(entry.step for entry in entries if entry.outcome == journal.SUCCESS)


def prepare_stage(folder: Path) -> Stage:
    """Run the first day and, in a copy, the second one through the control.

    Raises:
        RuntimeError: the control failed; the message has its output.
    """
    before, after = RunDirectory(folder / "before"), RunDirectory(folder / "after")
    before.path.mkdir(parents=True)
    dataset = load_dataset("synthetic", scale=SCALE)
    url = f"sqlite:///{before.source_file}"
    with step_server.running() as address:
        environment = {step_server.ENVIRONMENT_VARIABLE: str(address)}
        fill_source(url, dataset, DAYS[0])
        _run_control(before, DAYS[0], environment)
        advance_source(url, dataset, DAYS[1])
        shutil.copytree(before.path, after.path, symlinks=True)
        _run_control(after, DAYS[1], environment)
    return Stage(before, after, interval_of(DAYS[1]))


def _run_control(run: RunDirectory, day: str, environment: dict[str, str]) -> None:
    ended = run_control(run.path, day, environment=environment)
    if ended.returncode != 0:
        raise RuntimeError(f"the control failed on {day}: {ended.stderr}")


@contextmanager
def frozen_step(run: RunDirectory, interval: DataInterval, step: str) -> Iterator[psutil.Process]:
    """Wait until the step is at work and hold its process still (SIGSTOP) for the block.

    It goes on after the block, if what the block killed did not take it along.

    Raises:
        TimeoutError: the step did not come to work in time, or ended too soon to be seen.
    """
    log = run.step_log(step, interval)
    process = wait_for(lambda: _writer_of(log), f"{step} to be at work")
    process.suspend()
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.resume()


def _writer_of(log: Path) -> psutil.Process | None:
    """The step process whose output goes to the log."""
    if not log.exists():
        return None
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if step_server.__name__ in process.cmdline() and _writes(process, log):
                return process
    return None


def _writes(process: psutil.Process, log: Path) -> bool:
    return any(opened.fd == 1 and opened.path == str(log) for opened in process.open_files())


def kill(processes: Sequence[psutil.Process]) -> float:
    """SIGKILL the processes, all before any is waited for; the moment, by the monotonic clock."""
    moment = time.monotonic()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)
    return moment


def has_ended(process: psutil.Process) -> bool:
    """Whether the process is gone, or a zombie that does nothing any more."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(look: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
    """Look again and again until there is something to see, and return it.

    Raises:
        TimeoutError: there was nothing in time; the message names what was waited for.
    """
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(POLL_SECONDS)
    return seen


def seconds_until(
    condition: Callable[[], bool], within: float, since: float | None = None
) -> float | None:
    """How long it takes until the condition holds; None when that is longer than ``within``.

    Args:
        condition: what is waited for.
        within: the longest wait, in seconds.
        since: the moment to count from, as ``kill`` returns it; default: now.
    """
    started = time.monotonic() if since is None else since
    while not condition():
        if time.monotonic() - started > within:
            return None
        time.sleep(POLL_SECONDS)
    return round(time.monotonic() - started, 1)


def note(variant: str, fault: Fault) -> None:
    """Write the fault to ``benchmarks/results/faults-<variant>.json``, replacing its last note."""
    file = ROOT / "benchmarks" / "results" / f"faults-{variant}.json"
    earlier = json.loads(file.read_text())["faults"] if file.exists() else []
    faults = {(entry["killed"], entry["during"]): entry for entry in earlier}
    faults[fault.killed, fault.during] = asdict(fault)
    values: dict[str, Any] = {"variant": variant, "faults": list(faults.values())}
    temporary = hidden_sibling(file)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(json.dumps(values, indent=2) + "\n")
    temporary.replace(file)
