"""Where a run's time goes: waiting for a step to start, starting it, running it.

Every moment between the trigger and the end counts once. It is *running* while the journal has an
attempt of any step; else *starting* while the tool itself reports that a step runs, which is the
tool's overhead before and after the work of a step; else *waiting*.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ecommerce_pipeline.interval_run import IntervalRun
from ecommerce_pipeline.storage.journal import JournalEntry

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Split:
    """Seconds; their sum is the whole time."""

    waiting: float
    starting: float
    running: float


def split(whole: Span, runs: Iterable[IntervalRun], entries: Iterable[JournalEntry]) -> Split:
    """Divide the time between trigger and end.

    Args:
        whole: the moments of the trigger and of the end, aware.
        runs: what the tool reports of the runs in between.
        entries: what the journal has of them.
    """
    attempts = [(entry.started_at, entry.ended_at) for entry in entries]
    reported = [
        (step.started_at, step.ended_at)
        for run in runs
        for step in run.steps
        if step.started_at and step.ended_at
    ]
    running = covered_seconds(attempts, whole)
    in_a_step = covered_seconds([*attempts, *reported], whole)
    total = (whole[1] - whole[0]).total_seconds()
    return Split(total - in_a_step, in_a_step - running, running)


def covered_seconds(spans: Iterable[Span], whole: Span) -> float:
    """How much of the whole lies in at least one of the spans."""
    return sum((end - start).total_seconds() for start, end in _merged(spans, whole))


def _merged(spans: Iterable[Span], whole: Span) -> Iterator[Span]:
    """The spans without overlap, as far as they lie in the whole."""
    reached = whole[0]
    for span_start, span_end in sorted(spans):
        start, end = max(span_start, reached), min(span_end, whole[1])
        if start < end:
            yield start, end
            reached = end
