"""The step journal: what each attempt of a step did.

The process that asks for a step appends to it, so that an attempt whose step was killed in another
process is in it, and one whose own process was killed is not.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files import json_lines
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, SUCCESS
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One attempt of one step.

    Attributes:
        interval: the data interval as ``str(DataInterval)`` writes it.
        step: the step's name in the specification.
        started_at: when the attempt started; aware, UTC.
        ended_at: when it ended; aware, UTC.
        outcome: ``success`` or ``failed``.
        rows: rows by table or model name.
        details: further facts, such as a warning or the error.
        attempt_pid: the process that asked for the attempt.
    """

    interval: str
    step: str
    started_at: datetime
    ended_at: datetime
    outcome: str
    rows: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, str | int | float] = field(default_factory=dict)
    attempt_pid: int = field(default_factory=os.getpid)

    @property
    def warnings(self) -> str:
        """What the step's result warns of; empty where it warns of nothing."""
        return str(self.details.get("warnings", ""))

    @property
    def seconds(self) -> float:
        """How long the attempt took."""
        return (self.ended_at - self.started_at).total_seconds()


@dataclass(slots=True)
class Attempt:
    """An attempt that is under way; who makes it sets its result."""

    result: StepResult = field(default_factory=StepResult)


@contextmanager
def attempt(step: str, context: StepContext) -> Iterator[Attempt]:
    """Note one attempt of a step when the block ends: the result set in it, or the error raised.

    Raises:
        PipelineError: the journal cannot be written.
    """
    started = datetime.now(UTC)
    this = Attempt()
    try:
        yield this
    except BaseException as error:  # a tool's own time-out or cancellation is an attempt, too
        with contextlib.suppress(PipelineError):  # the step's own error is the one to raise
            _note(step, context, started, FAILED, StepResult(details={"error": reason(error)}))
        raise
    _note(step, context, started, SUCCESS, this.result)


def reason(error: BaseException) -> str:
    """Why an attempt failed, in one text; the class of an error that nobody foresaw is in it."""
    if isinstance(error, PipelineError):
        return str(error)
    return ": ".join(filter(None, [type(error).__name__, str(error)]))


def _note(
    step: str, context: StepContext, started: datetime, outcome: str, result: StepResult
) -> None:
    entry = JournalEntry(
        interval=str(context.interval),
        step=step,
        started_at=started,
        ended_at=datetime.now(UTC),
        outcome=outcome,
        rows=result.rows,
        details=result.details,
    )
    append(context.run, entry)


def append(run: RunDirectory, entry: JournalEntry) -> None:
    """Add one entry to the run's journal as one line.

    Raises:
        PipelineError: the journal cannot be written.
    """
    values = asdict(entry)
    for moment in ("started_at", "ended_at"):
        values[moment] = values[moment].isoformat()
    try:
        json_lines.append(run.step_journal, values)
    except OSError as error:
        raise PipelineError(
            f"the journal {run.step_journal} cannot be written: {error.strerror or error}",
            "free disk space or make it writable, then run the interval again",
            retryable=True,
        ) from error


def read(run: RunDirectory, interval: DataInterval | str | None = None) -> list[JournalEntry]:
    """The entries of one interval, or of all, as they were written; a torn line is left out."""
    return [
        _entry(values)
        for values in json_lines.read(run.step_journal)
        if interval is None or values["interval"] == str(interval)
    ]


def failed_steps(
    entries: Sequence[JournalEntry],
    since: datetime,
    last_attempts: Mapping[str, datetime] | None = None,
) -> dict[str, str]:
    """The steps whose last attempt failed, with its error; in the order of their first attempts.

    Args:
        entries: the entries of one interval, as ``read`` returns them.
        since: attempts that started earlier are those of another run, and do not count; aware.
        last_attempts: for some steps, when their last attempt started; earlier ones do not count.
    """
    starts = last_attempts or {}
    last = {
        entry.step: entry
        for entry in entries
        if entry.started_at >= max(since, starts.get(entry.step, since))
    }
    return {
        step: str(entry.details.get("error", ""))
        for step, entry in last.items()
        if entry.outcome != SUCCESS
    }


def latest_run(entries: Sequence[JournalEntry]) -> list[JournalEntry]:
    """The last successful attempt of each step since the first step last started.

    An interval that was run again has the entries of every run; only the newest run counts. The
    entries are ordered by their start.
    """
    # By the time and not by a run's id: the journal is the same for all tools, whose ids differ.
    beginnings = [entry.started_at for entry in entries if entry.step == STEP_NAMES[0]]
    latest = {
        entry.step: entry
        for entry in entries
        if entry.outcome == SUCCESS and (not beginnings or entry.started_at >= max(beginnings))
    }
    return sorted(latest.values(), key=lambda entry: entry.started_at)


def warnings(entries: Sequence[JournalEntry]) -> list[str]:
    """What the entries warn of, each with its step."""
    return [f"{entry.step}: {entry.warnings}" for entry in entries if entry.warnings]


def elapsed_seconds(entries: Sequence[JournalEntry]) -> float | None:
    """From the first start to the last end of the entries; None where there are none."""
    if not entries:
        return None
    first = min(entry.started_at for entry in entries)
    return (max(entry.ended_at for entry in entries) - first).total_seconds()


def _entry(values: dict[str, Any]) -> JournalEntry:
    moments = {name: datetime.fromisoformat(values[name]) for name in ("started_at", "ended_at")}
    return JournalEntry(**{**values, **moments})
