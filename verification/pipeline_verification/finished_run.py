"""A finished run, read from its folder, with what the oracle expects of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.harness import run_record
from ecommerce_pipeline.harness.driver import NO_DATASET
from ecommerce_pipeline.interval_run import IntervalRun, interval_run_from_json
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import Event, parse_history, runs_day_by_day
from pipeline_verification.oracle.source_database import read_tables
from pipeline_verification.oracle.source_state import SourceState
from pipeline_verification.verdict import FinishedRunEvidence, TriggeredRun


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """The values of a run record.

    Attributes:
        folder: the run's files.
        state: ``success``, ``failed`` or ``running``.
        dataset: the data set's name, or ``none``.
        options: the data set's options, such as its seed.
        source: the kind of source, or its URL without the password.
        history: what happened, in order, without the runs that failed.
        intervals: the runs in the order of the triggers, with their steps as the tool reports them.
    """

    folder: RunDirectory
    state: str
    dataset: str
    options: dict[str, int]
    source: str
    history: tuple[Event, ...]
    intervals: tuple[IntervalRun, ...]

    @classmethod
    def read(cls, path: Path) -> FinishedRun:
        """Read a run's folder.

        Raises:
            PipelineError: it has no valid run record.
        """
        folder = RunDirectory(path)
        values = run_record.read(folder.record)
        return cls(
            folder=folder,
            state=values["state"],
            dataset=values["dataset"]["name"],
            options=values["dataset"]["options"],
            source=values["source"],
            history=parse_history(values["history"]),
            intervals=tuple(map(interval_run_from_json, values["intervals"])),
        )

    @property
    def latest_intervals(self) -> list[IntervalRun]:
        """The latest run of each interval; an earlier one may have failed."""
        return list({run.interval: run for run in self.intervals}.values())

    def evidence(self, source_url: str | None = None) -> FinishedRunEvidence:
        """What ``verdict.RUN_CHECKS`` need to check this run.

        Args:
            source_url: as for ``expected_tables``.
        """
        return FinishedRunEvidence(
            folder=self.folder,
            state=self.state,
            history=self.history,
            runs=[TriggeredRun(run) for run in self.latest_intervals],
            expected=self.expected_tables(source_url),
            whole_history=runs_day_by_day(self.history),
        )

    def expected_tables(self, source_url: str | None = None) -> dict[str, pa.Table]:
        """The oracle's tables, by ``schema.table``.

        Args:
            source_url: the database of a run with ``--dataset none``; default: the record's URL,
                which has no password.
        """
        if self.dataset == NO_DATASET:
            source = SourceState(None, read_tables(source_url or self.source))
        else:
            source = SourceState(load_dataset(self.dataset, **self.options))
        return expected_tables(source, self.history)
