"""A run that is over: its record, and what the oracle expects of it."""

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
from pipeline_verification.oracle.history import Event, parse_history
from pipeline_verification.oracle.source_database import read_tables
from pipeline_verification.oracle.source_state import SourceState


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What the record says.

    Attributes:
        folder: where the run's files lie.
        state: ``success``, ``failed`` or ``running``.
        dataset: the data set's name, or ``none``.
        options: what the data set was made with.
        source: the kind of source, or its URL without the password.
        history: what happened, in order, without the runs that failed.
        intervals: the runs, with their steps as the tool reports them.
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
            PipelineError: it has no run record, or one that its schema refuses.
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

    def expected_tables(self, source_url: str | None = None) -> dict[str, pa.Table]:
        """What the warehouse must hold, by ``schema.table``.

        Args:
            source_url: the source of a run on a foreign database; default: the record's.
        """
        if self.dataset == NO_DATASET:
            source = SourceState(None, read_tables(source_url or self.source))
        else:
            source = SourceState(load_dataset(self.dataset, **self.options))
        return expected_tables(source, self.history)
