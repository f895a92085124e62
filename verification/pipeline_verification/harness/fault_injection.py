"""Killing a variant's processes in the middle of a step, and recording how the run ended.

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
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import psutil

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.harness.services import Service
from ecommerce_pipeline.harness.variant import Variant, name_in_form, started
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import journal
from pipeline_verification.compare import Difference, compare, report
from pipeline_verification.harness.control import (
    advance_source,
    fill_source,
    interval_of,
    run_control,
)
from pipeline_verification.harness.environments import ROOT

DAYS = ("2025-01-01", "2025-01-02")
SCALE = 20  # large enough that every step runs long enough to be suspended
TIMEOUT_SECONDS = 300.0
POLL_SECONDS = 0.01
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a fault test measured.

    Attributes:
        killed: what got SIGKILL, such as ``the flow-run process``.
        during: the step that ran.
        detected_seconds: from SIGKILL until the tool's own API showed it; None for never.
        completed_by: ``itself``, or the documented command that completed the run.
        equal: whether the warehouse equals the uninterrupted one, value for value.
    """

    killed: str
    during: str
    detected_seconds: float | None
    completed_by: str
    equal: bool = False


@dataclass(frozen=True, slots=True)
class InterruptedDay:
    """A run's folder before the day that a test interrupts, and after the undisturbed day."""

    before: RunDirectory
    uninterrupted: RunDirectory
    interval: DataInterval

    @classmethod
    def prepare(cls, folder: Path) -> InterruptedDay:
        """Run the first day and, in a copy, the second one through the control.

        Raises:
            RuntimeError: the control failed; the message has its output.
        """
        before, uninterrupted = RunDirectory(folder / "before"), RunDirectory(folder / "after")
        before.path.mkdir(parents=True)
        dataset = load_dataset("synthetic", scale=SCALE)
        url = f"sqlite:///{before.source_file}"
        with step_server.running() as address:
            environment = {step_server.ENVIRONMENT_VARIABLE: str(address)}
            fill_source(url, dataset, DAYS[0])
            _run_control(before, DAYS[0], environment)
            advance_source(url, dataset, DAYS[1])
            shutil.copytree(before.path, uninterrupted.path, symlinks=True)
            _run_control(uninterrupted, DAYS[1], environment)
        return cls(before, uninterrupted, interval_of(DAYS[1]))

    def copy_to(self, folder: Path) -> RunSettings:
        """A fresh copy of the folder before the interval, and the settings to run it there."""
        run = RunDirectory(folder)
        shutil.copytree(self.before.path, run.path, symlinks=True)
        return RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")


class HasServices(Variant, Protocol):
    """A variant with services that a test can kill."""

    services: dict[str, Service]


V = TypeVar("V", bound=HasServices)


@dataclass(frozen=True)
class InterruptedRun(Generic[V]):
    """A started variant whose second day a test interrupts; a tool's test extends it.

    Attributes:
        day: the interrupted day, with the expected final state.
        settings: the settings of the started variant.
        variant: the started variant.
    """

    day: InterruptedDay
    settings: RunSettings
    variant: V

    @classmethod
    @contextmanager
    def started(cls, variant: V, day: InterruptedDay, folder: Path) -> Iterator[Self]:
        """Start the variant for the block, in a copy of the folder before the day."""
        settings = day.copy_to(folder)
        with started(variant, settings):
            yield cls(day, settings, variant)

    @property
    def run(self) -> RunDirectory:
        """The run's folder."""
        return self.settings.run

    def service(self, name: str) -> psutil.Process:
        """The main process of a service of the variant."""
        return psutil.Process(self.variant.services[name].process.pid)

    def frozen_step(self, step: str) -> AbstractContextManager[psutil.Process]:
        """Wait until a step of the day runs, and suspend its process for the block."""
        return frozen(lambda: self.step_process(step), step)

    def step_process(self, step: str) -> psutil.Process | None:
        """The process in which a step of the day runs now: the step server's child for it.

        A tool whose native form runs steps in its own processes overrides this.
        """
        return _writer_of(self.run.step_log(step, self.day.interval))

    def is_at_work(self, step: str) -> bool:
        """Whether a native step of the day has started and not ended, by its log."""
        log = self.run.step_log(step, self.day.interval)
        return log.exists() and log.read_text(errors="replace").rstrip().endswith(" started")

    def kill_during(
        self,
        step: str,
        victims: Callable[[], Sequence[psutil.Process]],
        is_detected: Callable[[], bool],
        *,
        grace_seconds: float = TIMEOUT_SECONDS,
    ) -> float | None:
        """SIGKILL the victims while the step runs, and wait until the step has ended too.

        Args:
            step: the step of the day to interrupt.
            victims: called while the step's process is suspended.
            is_detected: whether the tool's own API shows that something has happened.
            grace_seconds: how long after that the step's process may still be there.

        Returns:
            After how many seconds ``is_detected`` was true; None when it was not in time.

        Raises:
            TimeoutError: the step did not start, or did not end with its client.
        """
        with self.frozen_step(step) as process:
            moment = kill(victims())
        detected = seconds_until(is_detected, TIMEOUT_SECONDS, since=moment)
        wait_for(lambda: has_ended(process), f"{step} to end with its client", grace_seconds)
        return detected

    def differences(self) -> list[Difference]:
        """Where warehouse and published copy differ from those of the undisturbed run."""
        other = self.day.uninterrupted
        copies = [folder.published / "warehouse.duckdb" for folder in (self.run, other)]
        return [*compare(self.run.warehouse, other.warehouse), *compare(copies[0], copies[1])]

    def record(self, fault: Fault) -> None:
        """Write the outcome to the results, then require that the data are equal.

        Raises:
            AssertionError: they are not; the message lists the differences.
        """
        differences = self.differences()
        write_result(self.variant, replace(fault, equal=not differences))
        if differences:
            raise AssertionError(report(differences))

    def times_done(self) -> Counter[str]:
        """How often each step of the day succeeded."""
        entries = journal.read(self.run, self.day.interval)
        return Counter(entry.step for entry in entries if entry.outcome == SUCCESS)


def _run_control(run: RunDirectory, day: str, environment: dict[str, str]) -> None:
    ended = run_control(run.path, day, environment=environment)
    if ended.returncode != 0:
        raise RuntimeError(f"the control failed on {day}: {ended.stderr}")


@contextmanager
def frozen(find: Callable[[], psutil.Process | None], step: str) -> Iterator[psutil.Process]:
    """Wait until a step runs and suspend its process (SIGSTOP) for the block.

    The process is resumed after the block, if it still exists.

    Args:
        find: the process in which the step runs now; None while it does not run.
        step: the step's name, for the message.

    Raises:
        TimeoutError: the step did not start in time.
        RuntimeError: it ended too soon to be suspended.
    """
    # A suspended step cannot finish between its discovery and the kill of the test.
    process = wait_for(find, f"{step} to run")
    process.suspend()
    try:
        if find() != process:
            raise RuntimeError(f"{step} ended before it could be suspended")
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
    """SIGKILL all processes, then wait for their end; return the time of the monotonic clock."""
    moment = time.monotonic()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=TIMEOUT_SECONDS)
    return moment


def has_ended(process: psutil.Process) -> bool:
    """Whether the process is gone, or a zombie."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition: Callable[[], T | None], what: str, seconds: float = TIMEOUT_SECONDS) -> T:
    """Poll until the condition gives something true, and return it.

    Raises:
        TimeoutError: it did not in time; the message names what was waited for.
    """
    found = wait_until(condition, timeout_seconds=seconds, poll_seconds=POLL_SECONDS)
    if not found:
        raise TimeoutError(f"waited {seconds:g} s for {what}")
    return found


def seconds_until(
    condition: Callable[[], bool], within: float, since: float | None = None
) -> float | None:
    """How long it takes until the condition is true; None when that is longer than ``within``.

    Args:
        condition: what is waited for.
        within: the longest wait, in seconds.
        since: the moment to count from, as ``kill`` returns it; default: now.
    """
    start = time.monotonic() if since is None else since
    left = max(0.0, within - (time.monotonic() - start))
    found = wait_until(condition, timeout_seconds=left, poll_seconds=POLL_SECONDS)
    return round(time.monotonic() - start, 1) if found else None


def write_result(variant: Variant, fault: Fault) -> None:
    """Write the fault to ``benchmarks/results/faults-<variant>.json``, replacing an earlier one.

    The name of a form that is not the native one follows the variant's.
    """
    name = name_in_form(variant.name, variant.form)
    file = ROOT / "benchmarks" / "results" / f"faults-{name}.json"
    earlier = json.loads(file.read_text())["faults"] if file.exists() else []
    faults = {(entry["killed"], entry["during"]): entry for entry in earlier}
    faults[fault.killed, fault.during] = asdict(fault)
    values: dict[str, Any] = {
        "variant": variant.name,
        "form": variant.form,
        "faults": list(faults.values()),
    }
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
