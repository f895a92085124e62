"""A scenario, and the stage on which one variant plays it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date

import duckdb

from ecommerce_pipeline import source
from ecommerce_pipeline.datasets import Dataset, advance, reset_source
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.driver import BACKFILL, DAILY, POSTGRES, SQLITE
from ecommerce_pipeline.harness.postgres_server import running_server
from ecommerce_pipeline.harness.variant import Variant
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source.base import TableChanges
from pipeline_verification.checks import Check
from pipeline_verification.conformance import source_reads
from pipeline_verification.conformance.source_reads import TableReads
from pipeline_verification.harness.webhook_receiver import Receiver
from pipeline_verification.oracle.history import Event, SourceAdvanced
from pipeline_verification.oracle.history import IntervalRun as IntervalEvent

__all__ = ["POSTGRES", "SQLITE", "Scenario", "Stage", "running_source"]

MESSAGE_SECONDS = 120.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a variant has to go through.

    Attributes:
        title: a name for people.
        rule: what must hold in the end, in one sentence.
        dataset: makes the data set that fills the source.
        play: takes a started variant through it, step by step.
        source: ``SQLITE`` or ``POSTGRES``; with the latter the reads at the source are counted.
        quick: whether it belongs to the quick form of the suite.
    """

    title: str
    rule: str
    dataset: Callable[[], Dataset]
    play: Callable[[Stage], None]
    source: str = SQLITE
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Triggered:
    """One run, and the step at which it was to fail; None where it was to succeed."""

    run: IntervalRun
    fails_at: str | None = None


@dataclass(slots=True)
class Stage:
    """One started variant with its source, and everything seen of it so far.

    Attributes:
        run: the run's folder.
        dataset: what fills the source.
        source_url: the source.
        variant: the started variant.
        receiver: what its notifications arrive at.
        history: what happened, for the oracle.
        triggered: the runs, as the variant's own tool reports them.
        reads: of each trigger what it read at the source, where that is counted.
        checks: what the scenario itself checked, by name.
        mode: ``daily``, or ``backfill`` once the tool's own backfill was asked for.
    """

    run: RunDirectory
    dataset: Dataset
    source_url: str = field(repr=False)
    variant: Variant
    receiver: Receiver
    history: list[Event] = field(default_factory=list)
    triggered: list[Triggered] = field(default_factory=list)
    reads: list[TableReads] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    mode: str = DAILY

    def advance(self, day: date) -> None:
        """Bring the source to the end of a day."""
        with closing(source.connect(self.source_url)) as database:
            advance(database, self.dataset, day)
        self.history.append(SourceAdvanced(day))
        if self._counts_reads:
            source_reads.make_steady(self.source_url)

    def run_day_by_day(self, intervals: Iterable[DataInterval]) -> None:
        """Run each day's interval once the source stands at its end."""
        for interval in intervals:
            self.advance(interval.start.date())
            self.run_interval(interval)

    def change_source(self, changes: TableChanges) -> None:
        """Change rows of the source behind the data set's back; the oracle does not know of it."""
        with closing(source.connect(self.source_url)) as database, database.transaction():
            database.apply(changes)

    def run_interval(self, interval: DataInterval, *, fails_at: str | None = None) -> IntervalRun:
        """Trigger one interval.

        Args:
            interval: the data interval.
            fails_at: the step at which the run is to fail; its notification is awaited.

        Raises:
            PipelineError: the run ended otherwise.
        """
        with self._reads_noted([interval]):
            run = self.variant.run_interval(interval)
        self._note([run], fails_at)
        return run

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Have the tool backfill the intervals.

        Raises:
            PipelineError: an interval's run failed, or there is none.
        """
        self.mode = BACKFILL
        with self._reads_noted(intervals):
            runs = self.variant.backfill(intervals)
        self._note(runs, None)
        absent = {str(interval) for interval in intervals} - {run.interval for run in runs}
        if absent:
            raise PipelineError(
                f"the backfill did not run {', '.join(sorted(absent))}", f"read {self.run.path}"
            )
        return runs

    def check(self, name: str, faults: Sequence[object], fact: str) -> None:
        """Note whether something holds: ``fact`` where there are no faults."""
        self.checks[name] = Check.of(faults, fact)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """The rows that the warehouse gives, between two runs."""
        with duckdb.connect(self.run.warehouse, read_only=True) as connection:
            return connection.execute(statement).fetchall()

    @property
    def _counts_reads(self) -> bool:
        return not self.source_url.startswith("sqlite:")

    @contextmanager
    def _reads_noted(self, intervals: Sequence[DataInterval]) -> Iterator[None]:
        """Note what the block reads at the source, and hold it against the rows there."""
        if not self._counts_reads:
            yield
            return
        url = self.source_url
        rows = [source_reads.rows_of(url, interval) for interval in intervals]
        before = source_reads.counted(url)
        yield
        after = source_reads.counted(url)
        reads = {table: after[table] - before[table] for table in after}
        self.reads.append(reads)
        due = {table: sum(of_one[table] for of_one in rows) for table in reads}
        faults = source_reads.missing(reads, due, runs=len(intervals))
        earlier = self.checks.get("source reads")
        if earlier is None or earlier.passed:
            self.check("source reads", faults, self._reads_in_words())

    def _reads_in_words(self) -> str:
        seen = [reads for of_trigger in self.reads for reads in of_trigger.values()]
        scans, rows = sum(reads.scans for reads in seen), sum(reads.rows for reads in seen)
        return f"{scans} scans of {len(self.reads[0])} tables fetched {rows:,} rows"

    def _note(self, runs: Sequence[IntervalRun], fails_at: str | None) -> None:
        """Take the runs into the history, and see that each ended as it was to."""
        self.triggered += [Triggered(run, fails_at) for run in runs]
        expected = SUCCESS if fails_at is None else FAILED
        for run in sorted(runs, key=_started):
            if run.state != expected:
                raise PipelineError(_other_end(run), f"read the logs in {self.run.path}")
            if run.state == SUCCESS:
                self.history.append(IntervalEvent(DataInterval.parse(run.interval)))
            else:
                self._await_messages()

    def _await_messages(self) -> None:
        """Wait until there is a message for each run: a tool may tell of a failure some time later.

        Whether it is the right one is checked in the end.
        """
        deadline = time.monotonic() + MESSAGE_SECONDS
        while len(self.receiver.payloads) < len(self.triggered) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)


@contextmanager
def running_source(scenario: Scenario, dataset: Dataset, run: RunDirectory) -> Iterator[str]:
    """The URL of a fresh source of the scenario's kind, its tables empty."""
    if scenario.source == SQLITE:
        yield _made(f"sqlite:///{run.source_file}")
        return
    with running_server(run.postgres_data, durable=False) as url:
        yield _made(url)


def _made(url: str) -> str:
    with closing(source.connect(url)) as database:
        reset_source(database)
    return url


def _started(run: IntervalRun) -> float:
    return run.started_at.timestamp() if run.started_at else float("inf")


def _other_end(run: IntervalRun) -> str:
    label = DataInterval.parse(run.interval).label
    failed = ", ".join(step.name for step in run.steps if step.state == FAILED)
    return f"the run of {label} ended as {run.state}" + (f" at {failed}" if failed else "")
