"""A random kill of the control: of the pipeline and its processes, or of ``run.py``."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import psutil

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.paths import remove
from ecommerce_pipeline.interval_run import interval_run_from_json
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.random_kills import kill as outcome
from pipeline_verification.random_kills.draw import RESUME, Draw
from pipeline_verification.random_kills.kill import Kill
from pipeline_verification.random_kills.prepared import (
    TIMEOUT_SECONDS,
    Control,
    PreparedDay,
    copy,
)
from pipeline_verification.random_kills.reader import polling
from pipeline_verification.random_kills.trial import (
    MAX_TRIGGERS,
    Day,
    Hit,
    Recovery,
    concluded,
    left_over,
    strike,
    was_retried,
)
from pipeline_verification.random_kills.victims import Member, members

MAX_TRIES = 5
DRIVER = "run.py"


@dataclass(frozen=True)
class ControlKills:
    """Makes kills of the control, each in a folder of its own; several may run side by side.

    Attributes:
        prepared: where each kill starts from.
        control: the control's commands.
        folder: gets a folder for each kill; one whose data differ is kept.
    """

    prepared: PreparedDay
    control: Control
    folder: Path
    _running: set[subprocess.Popen[bytes]] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End the kills that are being made in other threads; they raise."""
        self._stopped.set()
        for process in list(self._running):
            process.kill()

    def make(self, draw: Draw) -> Kill:
        """Make one kill.

        Raises:
            TimeoutError: the day always ended before the kill.
            PipelineError: ``stop`` was called.
        """
        timetable = self.prepared.timetable_of(draw)
        for _ in range(MAX_TRIES):
            run = self._fresh(draw)
            with polling(run, self.prepared.manifests) as readings:
                begun = time.monotonic()
                with self._started(draw, run) as process:
                    day = Day(
                        begun,
                        partial(_processes, process, draw.mode),
                        partial(_has_ended, process),
                        partial(self.prepared.has_begun, run),
                        partial(self.prepared.at_work, run),
                        only=DRIVER if draw.mode == RESUME else None,
                    )
                    hit = strike(draw, timetable, day)
                    if hit is None:
                        # This day was faster than the one of the timetable.
                        timetable = replace(timetable, seconds=time.monotonic() - begun)
                        continue
                    recovery = self._recover(draw, run, process, hit)
            made = concluded(self.prepared, run, hit, recovery, readings)
            if made.equal:
                remove(run.path, missing_ok=True)
            return made
        raise TimeoutError(f"seed {draw.seed}: the day ended before the kill {MAX_TRIES} times")

    def _fresh(self, draw: Draw) -> RunDirectory:
        folder = self.folder / f"seed-{draw.seed}"
        remove(folder, missing_ok=True)
        prepared = self.prepared.first_day if draw.mode == RESUME else self.prepared.before
        return copy(prepared, folder)

    @contextmanager
    def _started(self, draw: Draw, run: RunDirectory) -> Iterator[subprocess.Popen[bytes]]:
        """Start the day; what is left of it at the block's end is killed."""
        if self._stopped.is_set():
            raise PipelineError("the kills were stopped", "start them again, they continue")
        command = (
            self.control.run(run, 2, "--resume") if draw.mode == RESUME else self.control.pipeline()
        )
        with (
            (run.path / "kills.log").open("ab") as log,
            subprocess.Popen(
                command,
                env=self.control.environment(run),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            self._running.add(process)
            try:
                yield process
            finally:
                self._running.discard(process)
                if process.poll() is None:
                    process.kill()

    def _recover(
        self, draw: Draw, run: RunDirectory, process: subprocess.Popen[bytes], hit: Hit
    ) -> Recovery:
        """Start the same command until it succeeds, at once after the one before has ended."""
        again = outcome.RESUMED if draw.mode == RESUME else outcome.RUN_AGAIN
        problems = []
        by = again
        for triggers in range(1, MAX_TRIGGERS + 1):
            if triggers > 2:
                # What refused the second start may be the day's own process, which goes on
                # without its driver: the message says to wait for it.
                problems += left_over(hit.others)
            code = self._end_of(draw, run, process if triggers == 1 else None)
            if code == 0:
                by = self._without_restart(run) if triggers == 1 else again
                return Recovery(by, triggers, problems + left_over(hit.others))
            if code is None:
                problems.append(f"start {triggers} took longer than {TIMEOUT_SECONDS:g} s")
        return Recovery(outcome.NOT_RECOVERED, MAX_TRIGGERS, [*problems, _last_line(run)])

    def _end_of(
        self, draw: Draw, run: RunDirectory, process: subprocess.Popen[bytes] | None
    ) -> int | None:
        """The exit code of this process, or else of a new one; None when it did not end."""
        with suppress(subprocess.TimeoutExpired):
            if process is not None:
                return process.wait(TIMEOUT_SECONDS)
            with self._started(draw, run) as started:
                return started.wait(TIMEOUT_SECONDS)
        return None

    def _without_restart(self, run: RunDirectory) -> str:
        text = run.interval_record(self.prepared.interval).read_text()
        retried = was_retried(interval_run_from_json(json.loads(text)))
        return outcome.RETRIED if retried else outcome.WENT_ON


def _processes(process: subprocess.Popen[bytes], mode: str) -> list[Member]:
    """The day's processes; the first one is called the driver where it is ``run.py``."""
    with suppress(psutil.NoSuchProcess):
        root = psutil.Process(process.pid)
        found = members(root, with_root=True)
        if mode != RESUME:
            return found
        return [Member(root, DRIVER) if each.process == root else each for each in found]
    return []


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is not None


def _last_line(run: RunDirectory) -> str:
    lines = (run.path / "kills.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
