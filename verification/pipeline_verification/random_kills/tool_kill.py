"""A random kill of a tool: of any process of its services, workers and steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import psutil

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.paths import remove
from ecommerce_pipeline.interval_run import SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import journal
from pipeline_verification.harness.remote_variant import RemoteVariant
from pipeline_verification.random_kills import kill as outcome
from pipeline_verification.random_kills.draw import Draw, Timetable
from pipeline_verification.random_kills.kill import Kill
from pipeline_verification.random_kills.prepared import (
    TIMEOUT_SECONDS,
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
from pipeline_verification.random_kills.victims import DBT, STEP, Member, members

MAX_TRIES = 5
# A service is restarted a limited number of times, and a new start also kills a fresh tool.
KILLS_PER_START = 5
PAUSE_SECONDS = 5.0
# Longer than any time-out by which a tool notices a dead process; then a person would look.
STUCK_SECONDS = 300.0


@dataclass
class ToolKills:
    """Makes kills of a tool, one after the other; its services stay up between them.

    Attributes:
        name: the variant.
        form: the form of its pipeline.
        prepared: where each kill starts from.
        folder: gets a folder for each start of the tool; one with data that differ is kept.
        say: called with a line of progress.
        versions: of what was started; empty before the first kill.
    """

    name: str
    form: str
    prepared: PreparedDay
    folder: Path
    say: Callable[[str], None]
    versions: dict[str, str] = field(default_factory=dict)
    _variant: RemoteVariant | None = None
    _run: RunDirectory | None = None
    _kills_left: int = 0
    _timetable: Timetable | None = None

    def make(self, draw: Draw) -> Kill:
        """Make one kill.

        Raises:
            TimeoutError: the day always ended before the kill.
            PipelineError: the tool cannot be started.
        """
        for _ in range(MAX_TRIES):
            made = self._attempt(draw, *self._ready(draw))
            if made is not None:
                return made
        raise TimeoutError(f"seed {draw.seed}: the day ended before the kill {MAX_TRIES} times")

    def stop(self) -> None:
        """Stop the tool."""
        if self._variant is not None:
            variant, self._variant = self._variant, None
            variant.stop()

    def _attempt(self, draw: Draw, variant: RemoteVariant, run: RunDirectory) -> Kill | None:
        """One day with a kill; None when it ended before."""
        timetable = self._timetable or self._measured(variant, run)
        root = psutil.Process(variant.pid)
        self.prepared.reset(run)
        with polling(run, self.prepared.manifests) as readings:
            begun = time.monotonic()
            day = self._trigger(variant)
            processes = partial(members, root, with_root=False)
            begins = partial(self.prepared.has_begun, run)
            at_work = partial(self.prepared.at_work, run)
            hit = strike(draw, timetable, Day(begun, processes, day.done, begins, at_work))
            if hit is None:
                self._timetable = replace(timetable, seconds=time.monotonic() - begun)
                return None
            recovery = self._recover(variant, day, hit)
        made = concluded(self.prepared, run, hit, recovery, readings)
        self._kills_left -= 1
        if self._kills_left == 0 or not made.equal:
            self.stop()
            if made.equal:
                remove(run.path, missing_ok=True)
        return made

    def _ready(self, draw: Draw) -> tuple[RemoteVariant, RunDirectory]:
        """The started tool and its folder, with no step at work."""
        if self._variant is None or self._run is None:
            folder = self.folder / f"from-seed-{draw.seed}"
            remove(folder, missing_ok=True)
            self._run = copy(self.prepared.before, folder)
            self.say(f"{self.name}: starting in {folder}")
            variant = self._start(self._run)
            self.versions.update(variant.versions)
            self._kills_left = KILLS_PER_START
            return variant, self._run
        return self._variant, self._run

    def _measured(self, variant: RemoteVariant, run: RunDirectory) -> Timetable:
        """The timetable of an undisturbed day.

        Raises:
            PipelineError: the day failed.
        """
        self.prepared.reset(run)
        begun = time.monotonic()
        day = self._trigger(variant).result(TIMEOUT_SECONDS)
        seconds = time.monotonic() - begun
        differences = self.prepared.differences(run)
        if day.state != SUCCESS or differences:
            raise PipelineError(
                f"an undisturbed day of {self.name} is {day.state}; {len(differences)} differences",
                f"read {run.path}",
            )
        entries = journal.read(run, self.prepared.interval)
        self._timetable = Timetable.of(seconds, entries)
        self.say(f"{self.name}: an undisturbed day took {seconds:.1f} s")
        return self._timetable

    def _trigger(self, variant: RemoteVariant) -> Future[IntervalRun]:
        """Run the day through the tool's own API, in a thread that is not waited for at exit."""
        pool = ThreadPoolExecutor(1)
        day = pool.submit(variant.run_interval, self.prepared.interval)
        pool.shutdown(wait=False)
        return day

    def _recover(self, variant: RemoteVariant, day: Future[IntervalRun], hit: Hit) -> Recovery:
        """Wait for the day's end, and trigger it again as long as it failed.

        A tool that hangs, or that fails every time, is started again once, as a person would do.
        """
        problems: list[str] = []
        reasons: list[str] = []
        restarted = False
        for triggers in range(1, 2 * MAX_TRIGGERS + 1):
            if triggers > 1:
                day = self._trigger(variant)
            try:
                ended = day.result(STUCK_SECONDS)
            except FutureTimeoutError:
                reasons.append(f"trigger {triggers} did not end within {STUCK_SECONDS:g} s")
                if restarted:
                    break
                variant, restarted = self._restarted(), True
            except PipelineError as error:
                reasons.append(f"trigger {triggers}: {error}")
                time.sleep(PAUSE_SECONDS)
            else:
                if ended.state == SUCCESS:
                    again = outcome.RETRIED if was_retried(ended) else outcome.WENT_ON
                    by = again if triggers == 1 else outcome.RUN_AGAIN
                    by = outcome.RESTARTED if restarted else by
                    return Recovery(by, triggers, problems + self._steps_left(variant, hit))
                reasons.append(f"trigger {triggers} ended as {ended.tool_state}")
            if triggers == MAX_TRIGGERS and not restarted:
                variant, restarted = self._restarted(), True
        return Recovery(outcome.NOT_RECOVERED, triggers, problems + reasons)

    def _restarted(self) -> RemoteVariant:
        """The tool, stopped and started again in its folder."""
        self.stop()
        assert self._run is not None  # noqa: S101 (it was started there)
        return self._start(self._run)

    def _start(self, run: RunDirectory) -> RemoteVariant:
        self._variant = RemoteVariant(self.name, self.folder / f"{run.path.name}.log", self.form)
        self._variant.start(RunSettings(run, f"sqlite:///{run.source_file}"))
        return self._variant

    def _steps_left(self, variant: RemoteVariant, hit: Hit) -> list[str]:
        """The steps that are still at work after the day's end; they would write into the next."""
        now: list[Member] = []
        with suppress(psutil.NoSuchProcess):
            now = members(psutil.Process(variant.pid), with_root=False)
        return left_over([each.process for each in now if each.kind in (STEP, DBT)])
