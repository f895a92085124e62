"""The output of a run: a line for each step, a live status on a terminal, a summary."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date

from rich.console import Console
from rich.status import Status

from ecommerce_pipeline.harness.run_record import RunRecord
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.journal import JournalEntry

POLL_SECONDS = 0.2


class Progress:
    """Prints plain lines, and on a terminal also a live status line."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, markup=False)

    def source_advanced(self, day: date) -> None:
        """Print that the source has the changes of a UTC day."""
        self.say(f"{day}  source advanced")

    def step_ended(self, entry: JournalEntry) -> None:
        """Print how one attempt of a step ended."""
        outcome = "ok    " if entry.outcome == SUCCESS else "FAILED"
        rows = ", ".join(f"{name} {count:,}" for name, count in entry.rows.items())
        error = str(entry.details.get("error", ""))
        label = DataInterval.parse(entry.interval).label
        self.say(
            f"{label}  {outcome}  {entry.step:<24} {entry.seconds:6.2f} s  {rows or error}".rstrip()
        )
        if entry.warnings:
            self.say(f"{label}  warning {entry.step}: {entry.warnings}")

    @contextmanager
    def following(self, run: RunDirectory, intervals: Sequence[DataInterval]) -> Iterator[None]:
        """Print the steps of these intervals as they reach the journal, until the block ends."""
        # The steps write the journal while they run, in the same form under every tool.
        wanted = {str(interval) for interval in intervals}
        seen = len(journal.read(run))
        done = threading.Event()

        def show_new(status: Status) -> None:
            nonlocal seen
            entries = journal.read(run)
            for entry in entries[seen:]:
                if entry.interval in wanted:
                    self.step_ended(entry)
            seen = len(entries)
            ended = sum(e.interval in wanted and e.outcome == SUCCESS for e in entries)
            status.update(f"{ended} of {len(wanted) * len(STEP_NAMES)} steps")

        def follow(status: Status) -> None:
            while not done.wait(POLL_SECONDS):
                show_new(status)

        with self._console.status("waiting for the first step") as status:
            follower = threading.Thread(target=follow, args=[status], daemon=True)
            follower.start()
            try:
                yield
            finally:
                done.set()
                follower.join()
                show_new(status)

    def wait_for_interrupt(self, addresses: Mapping[str, str]) -> None:
        """Print the URLs of the tool's pages and wait for Ctrl+C."""
        for title, address in addresses.items():
            self.say(f"{title}: {address}")
        self.say("Everything stays up until Ctrl+C.")
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            self.say("")

    def summary(self, record: RunRecord, run: RunDirectory) -> None:
        """Print the outcome and the paths of what the run made."""
        succeeded = sum(interval.state == SUCCESS for interval in record.intervals)
        ended = record.ended_at or record.started_at
        seconds = (ended - record.started_at).total_seconds()
        self.say(
            f"\n{record.variant}: {record.state}, {succeeded} interval(s) succeeded, "
            f"{len(record.intervals) - succeeded} failed, in {seconds:.1f} s"
        )
        places = {
            "warehouse": run.warehouse,
            "published": run.published,
            "dashboard": run.dashboard,
            "run record": run.record,
            "logs": run.step_journal.parent,
        }
        for name, path in places.items():
            self.say(f"  {name:<11} {path if path.exists() else f'{path} (not made)'}")
