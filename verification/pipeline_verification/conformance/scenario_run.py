"""A scenario, and one variant's run through it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import date

from ecommerce_pipeline import source
from ecommerce_pipeline.datasets import Dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.harness.driver import BACKFILL, DAILY
from ecommerce_pipeline.harness.run_session import POSTGRES, SQLITE, RunSession
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source.base import TableChanges
from ecommerce_pipeline.storage.duckdb_connection import connect_duckdb
from pipeline_verification.checks import Check
from pipeline_verification.conformance import source_reads
from pipeline_verification.conformance.source_reads import TableReads
from pipeline_verification.harness.webhook_receiver import Receiver
from pipeline_verification.oracle.history import Event, parse_history
from pipeline_verification.verdict import TriggeredRun

__all__ = ["POSTGRES", "SQLITE", "Scenario", "ScenarioRun"]

NOTIFICATION_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Scenario:
    """A sequence of events that every variant must handle with the same result.

    Attributes:
        title: its name in reports.
        rule: what it verifies, in one sentence.
        dataset: makes the data set that fills the source.
        run: takes a started variant through the events.
        source: ``SQLITE`` or ``POSTGRES``; with PostgreSQL the reads at the source are counted.
        quick: whether it belongs to the quick form of the suite.
    """

    title: str
    rule: str
    dataset: Callable[[], Dataset]
    run: Callable[[ScenarioRun], None]
    source: str = SQLITE
    quick: bool = False


@dataclass(slots=True)
class ScenarioRun:
    """One variant's run through a scenario, with everything that was seen of it.

    Attributes:
        session: the variant with its source and history.
        dataset: the data set that fills the source.
        receiver: receives the variant's notifications.
        triggered: the runs with their expected ends.
        reads: what each trigger read at the source; empty where reads are not counted.
        checks: the scenario's own checks, by name.
        mode: ``daily``, or ``backfill`` after the first backfill.
    """

    session: RunSession
    dataset: Dataset
    receiver: Receiver
    triggered: list[TriggeredRun] = field(default_factory=list)
    reads: list[TableReads] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)
    mode: str = DAILY

    @property
    def folder(self) -> RunDirectory:
        """The run's folder."""
        return self.session.settings.run

    @property
    def history(self) -> tuple[Event, ...]:
        """What happened, in order, without the runs that failed."""
        return parse_history(self.session.history)

    def advance(self, day: date) -> None:
        """Bring the source to the end of a UTC day."""
        self.session.advance(day)
        if self._counts_reads:
            source_reads.make_steady(self._source_url)

    def run_day_by_day(self, intervals: Iterable[DataInterval]) -> None:
        """Advance the source to each interval's day and run it.

        Raises:
            PipelineError: a run failed.
        """
        for interval in intervals:
            self.advance(interval.start.date())
            self.run_interval(interval)

    def change_source(self, changes: TableChanges) -> None:
        """Change rows of the source beside the data set; the oracle does not see the change."""
        with closing(source.connect(self._source_url)) as database, database.transaction():
            database.apply(changes)

    def run_interval(self, interval: DataInterval, *, fails_at: str | None = None) -> IntervalRun:
        """Trigger one interval.

        Args:
            interval: the data interval.
            fails_at: the step at which the run must fail; its notification is awaited.

        Raises:
            PipelineError: the run ended otherwise.
        """
        with self._counting_reads([interval]):
            run = self.session.run_interval(interval)
        self._check_ends([run], fails_at)
        return run

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Have the tool backfill the intervals.

        Raises:
            PipelineError: an interval's run failed, or an interval has no run.
        """
        self.mode = BACKFILL
        with self._counting_reads(intervals):
            runs = self.session.backfill(intervals)
        self._check_ends(runs, None)
        absent = {str(interval) for interval in intervals} - {run.interval for run in runs}
        if absent:
            raise PipelineError(
                f"the backfill did not run {', '.join(sorted(absent))}",
                f"read {self.folder.path}",
            )
        return runs

    def check(self, name: str, problems: Sequence[object], detail: str) -> None:
        """Record a check of the scenario's own: it passed, with this detail, without problems."""
        self.checks[name] = Check.of(problems, detail)

    def query(self, statement: str) -> list[tuple[object, ...]]:
        """The result of an SQL query in the warehouse; no run may be at work."""
        with connect_duckdb(self.folder.warehouse, read_only=True) as connection:
            return connection.execute(statement).fetchall()

    @property
    def _source_url(self) -> str:
        return self.session.settings.source_url

    @property
    def _counts_reads(self) -> bool:
        return not self._source_url.startswith("sqlite:")

    @contextmanager
    def _counting_reads(self, intervals: Sequence[DataInterval]) -> Iterator[None]:
        """Count what the block reads at the source, and compare it with the rows there."""
        if not self._counts_reads:
            yield
            return
        url = self._source_url
        rows = [source_reads.rows_of(url, interval) for interval in intervals]
        before = source_reads.counted(url)
        yield
        after = source_reads.counted(url)
        reads = {table: after[table] - before[table] for table in after}
        self.reads.append(reads)
        due = {table: sum(of_one[table] for of_one in rows) for table in reads}
        problems = source_reads.missing(reads, due, runs=len(intervals))
        # The first trigger that read too little is kept; later ones must not replace it.
        earlier = self.checks.get("source reads")
        if earlier is None or earlier.passed:
            self.check("source reads", problems, self._describe_reads())

    def _describe_reads(self) -> str:
        seen = [reads for of_trigger in self.reads for reads in of_trigger.values()]
        scans, rows = sum(reads.scans for reads in seen), sum(reads.rows for reads in seen)
        return f"{scans} scans of {len(self.reads[0])} tables fetched {rows:,} rows"

    def _check_ends(self, runs: Sequence[IntervalRun], fails_at: str | None) -> None:
        """Accept runs that ended as expected; wait for the notification of a failed one."""
        self.triggered += [TriggeredRun(run, fails_at) for run in runs]
        expected = SUCCESS if fails_at is None else FAILED
        for run in runs:
            if run.state != expected:
                raise PipelineError(_unexpected_end(run), f"read the logs in {self.folder.path}")
        if fails_at is not None:
            self._await_notifications()

    def _await_notifications(self) -> None:
        """Wait until as many notifications as runs have arrived, or for some time.

        A tool may call its failure hook some seconds after it has reported the run as failed.
        ``suite.check_outcome`` compares what arrived.
        """
        wait_until(
            lambda: len(self.receiver.payloads) >= len(self.triggered),
            timeout_seconds=NOTIFICATION_SECONDS,
            poll_seconds=0.05,
        )


def _unexpected_end(run: IntervalRun) -> str:
    label = DataInterval.parse(run.interval).label
    failed = ", ".join(step.name for step in run.steps if step.state == FAILED)
    return f"the run of {label} ended as {run.state}" + (f" at {failed}" if failed else "")
