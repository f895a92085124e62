"""What one kill consists of, for the control and for a tool alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.interval_run import IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.harness.fault_injection import has_ended
from pipeline_verification.harness.process_tree import process_tree
from pipeline_verification.random_kills import kill as outcome
from pipeline_verification.random_kills import record
from pipeline_verification.random_kills.draw import Draw, Timetable
from pipeline_verification.random_kills.kill import Kill
from pipeline_verification.random_kills.prepared import TIMEOUT_SECONDS, PreparedDay
from pipeline_verification.random_kills.reader import Readings
from pipeline_verification.random_kills.victims import Member, choose

MAX_TRIGGERS = 4
END_SECONDS = 120.0
SHOWN_LETTERS = 400


@dataclass(frozen=True, slots=True)
class Day:
    """A day that was triggered.

    Attributes:
        begun: when, on the monotonic clock.
        processes: finds the run's processes.
        is_over: whether the day has ended; then there is nothing left to kill.
        has_begun: whether a step has begun.
        at_work: the steps at work, given the run's processes.
        only: the one kind of process that is killed; None for any.
    """

    begun: float
    processes: Callable[[], list[Member]]
    is_over: Callable[[], bool]
    has_begun: Callable[[str], bool]
    at_work: Callable[[list[Member]], list[str]]
    only: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A process that was killed.

    Attributes:
        draw: the random choices that led to it.
        day_seconds: how long the day was expected to take.
        kind: what it was.
        steps: the steps at work in that moment.
        seconds: when, since the day's trigger.
        moment: the same on the monotonic clock.
        others: the run's processes in that moment, the killed one among them.
    """

    draw: Draw
    day_seconds: float
    kind: str
    steps: list[str]
    seconds: float
    moment: float
    others: list[psutil.Process]


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a day came to its end after a kill.

    Attributes:
        by: a text of ``kill``.
        triggers: how many times the day was started in all.
        problems: what went wrong on the way.
    """

    by: str
    triggers: int
    problems: Sequence[str] = ()


def strike(draw: Draw, timetable: Timetable, day: Day) -> Hit | None:
    """Wait for the moment and kill the process that the draw chooses.

    Returns:
        What was hit; None when the day ended before.
    """
    wait_until(
        lambda: day.is_over() or draw.step is None or day.has_begun(draw.step),
        timeout_seconds=TIMEOUT_SECONDS,
        poll_seconds=0.005,
    )
    moment = (time.monotonic() if draw.step else day.begun) + timetable.delay(draw)
    while (left := moment - time.monotonic()) > 0 and not day.is_over():
        time.sleep(min(left, 0.05))
    while not day.is_over():
        found = day.processes()
        chosen = choose([each for each in found if day.only in (None, each.kind)], draw)
        if chosen is None:
            time.sleep(0.01)
            continue
        steps = day.at_work(found)
        with suppress(psutil.NoSuchProcess):
            chosen.process.kill()
            now = time.monotonic()
            others = [member.process for member in found]
            return Hit(draw, timetable.seconds, chosen.kind, steps, now - day.begun, now, others)
    return None


def concluded(
    prepared: PreparedDay, run: RunDirectory, hit: Hit, recovery: Recovery, readings: Readings
) -> Kill:
    """Compare what the day left with the uninterrupted one, and put everything in a record."""
    recovery_seconds = time.monotonic() - hit.moment
    problems, differing = list(recovery.problems), []
    if recovery.by != outcome.NOT_RECOVERED:
        differences = prepared.differences(run)
        differing = sorted({difference.table for difference in differences})
        problems += [str(difference)[:SHOWN_LETTERS] for difference in differences]
    problems += [f"the reader saw: {problem}"[:SHOWN_LETTERS] for problem in readings.problems]
    return Kill(
        seed=hit.draw.seed,
        mode=hit.draw.mode,
        process=hit.kind,
        steps=hit.steps,
        seconds=round(hit.seconds, 2),
        day_seconds=round(hit.day_seconds, 2),
        recovered_by=recovery.by,
        triggers=recovery.triggers,
        recovery_seconds=round(recovery_seconds, 2),
        differing=differing,
        problems=[problem.replace(str(run.path), "RUN") for problem in problems],
        reads=readings.reads,
        commit=record.commit(),
    )


def was_retried(run: IntervalRun) -> bool:
    """Whether a step was tried more than once, by the tool's own count."""
    return any(step.attempts > 1 for step in run.steps)


def left_over(processes: Iterable[psutil.Process], seconds: float = END_SECONDS) -> list[str]:
    """The processes that are still alive, with their descendants, after this many seconds."""
    known = list(processes)

    def all_ended() -> bool:
        return all(has_ended(process) for root in known for process in [root, *_below(root)])

    if wait_until(all_ended, timeout_seconds=seconds, poll_seconds=0.05):
        return []
    alive = [process for process in known if not has_ended(process)]
    return [f"process {process.pid} is still alive after {seconds:g} s" for process in alive]


def _below(root: psutil.Process) -> list[psutil.Process]:
    return process_tree(root)[1:]
