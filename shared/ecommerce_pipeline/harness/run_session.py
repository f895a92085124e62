"""A variant at work: advance the source, trigger intervals, record both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date

from ecommerce_pipeline import source
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import Dataset, advance, reset_source
from ecommerce_pipeline.harness.postgres_server import running_server
from ecommerce_pipeline.harness.variant import Variant
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import journal

SQLITE, POSTGRES = "sqlite", "postgres"

Observe = Callable[[Sequence[DataInterval]], AbstractContextManager[None]]


def _ignore_day(day: date) -> None:
    """Report nothing."""


def _observe_nothing(intervals: Sequence[DataInterval]) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(slots=True)
class RunSession:
    """A started variant with its source, and what happened so far.

    Attributes:
        variant: the variant; it must be started before the first trigger.
        settings: the settings that it was started with.
        dataset: changes the source; None for an existing database, which never advances.
        history: in order, ``{"advance": DAY}`` and ``{"interval": INTERVAL, "state": …}``, the
            form of ``run.json``.
        runs: every run in the order of the triggers, with the rows of its steps.
        day_reached: called with each UTC day whose changes the source has got.
        observe: wraps each trigger; ``history`` and ``runs`` are complete when its block ends.
    """

    variant: Variant
    settings: RunSettings
    dataset: Dataset | None
    history: list[dict[str, str]] = field(default_factory=list)
    runs: list[IntervalRun] = field(default_factory=list)
    day_reached: Callable[[date], None] = _ignore_day
    observe: Observe = _observe_nothing

    def advance(self, day: date) -> None:
        """Bring the source to the end of a UTC day; an existing database stays as it is."""
        if self.dataset is None:
            return
        with closing(source.connect(self.settings.source_url)) as database:
            reached = advance(database, self.dataset, day, self.day_reached)
        self.history.append({"advance": reached.isoformat()})

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Trigger one interval and wait for its end; the run may have failed.

        Raises:
            PipelineError: the tool refuses, or has ended.
        """
        (run,) = self._trigger([interval], lambda: [self.variant.run_interval(interval)])
        return run

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Have the tool backfill the intervals and wait for its end; runs may have failed.

        Raises:
            PipelineError: the tool refuses, or has ended.
        """
        return self._trigger(intervals, lambda: self.variant.backfill(intervals))

    def run_day_by_day(self, intervals: Iterable[DataInterval]) -> list[IntervalRun]:
        """Advance the source to each interval's day and run it; stop after a run that failed.

        Raises:
            PipelineError: the tool refuses, or has ended.
        """
        runs: list[IntervalRun] = []
        for interval in intervals:
            self.advance(interval.start.date())
            runs.append(self.run_interval(interval))
            if runs[-1].state != SUCCESS:
                break
        return runs

    def _trigger(
        self, intervals: Sequence[DataInterval], start: Callable[[], list[IntervalRun]]
    ) -> list[IntervalRun]:
        with self.observe(intervals):
            runs = [self._with_rows(run) for run in start()]
            self.runs += runs
            # A backfill may run its intervals in any order, and the order decides which versions
            # of a customer the snapshot sees.
            for run in sorted(runs, key=_started_at):
                self.history.append({"interval": run.interval, "state": run.state})
        return runs

    def _with_rows(self, run: IntervalRun) -> IntervalRun:
        """Add each step's rows and warnings, which no tool's API reports, from the journal."""
        entries = {
            entry.step: entry
            for entry in journal.read(self.settings.run, run.interval)
            if entry.outcome == SUCCESS
        }
        steps = tuple(
            replace(step, rows=entries[step.name].rows, warnings=entries[step.name].warnings)
            if step.name in entries
            else step
            for step in run.steps
        )
        return replace(run, steps=steps)


@contextmanager
def running_source(kind_or_url: str, run: RunDirectory, *, durable: bool = True) -> Iterator[str]:
    """The URL of the source for the block; with ``POSTGRES`` a private server runs behind it.

    Args:
        kind_or_url: ``SQLITE`` or ``POSTGRES`` for a database in the run's folder, or the URL of
            an existing database.
        run: the run's folder.
        durable: False lets the private server skip fsync.

    Raises:
        PipelineError: the PostgreSQL server cannot be started.
    """
    if kind_or_url == SQLITE:
        yield f"sqlite:///{run.source_file}"
    elif kind_or_url == POSTGRES:
        with running_server(run.postgres_data, durable=durable) as url:
            yield url
    else:
        yield kind_or_url


def empty_source(url: str) -> None:
    """Create the source's tables without rows, in place of those that it has."""
    with closing(source.connect(url)) as database:
        reset_source(database)


def _started_at(run: IntervalRun) -> float:
    """Seconds since 1970 UTC; a run that never started comes last."""
    return run.started_at.timestamp() if run.started_at else float("inf")
