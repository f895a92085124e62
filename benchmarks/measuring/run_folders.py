"""Brings a run's folder into the state before a sample and compares its warehouse afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.paths import remove
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.compare import compare
from pipeline_verification.harness.control import fill_source

DATASET = "synthetic"
DATA = ("landing", "warehouse.duckdb*", "published", ".published", "dashboard")
"""What intervals leave for later ones. The tool's home and dbt's parsed project are not reset."""
NOTES = ("notifications.jsonl", "logs/steps.jsonl")


@dataclass(frozen=True, slots=True)
class SampleSetup:
    """What one sample of a case runs, and on which data.

    Attributes:
        intervals: the intervals to run.
        backfill: whether the tool's own backfill runs them, not one trigger after the other.
        scale: the size of the data set.
        after: the case whose data are in the folder before; None for an empty folder.
    """

    intervals: Sequence[DataInterval]
    backfill: bool = False
    scale: int = 1
    after: str | None = None

    @property
    def batches(self) -> Iterator[Sequence[DataInterval]]:
        """Intervals that are triggered together; the source is then at the end of the last one."""
        if self.backfill:
            yield self.intervals
        else:
            yield from ([interval] for interval in self.intervals)


class RunFolders:
    """Sources, data and reference warehouses, made once and copied before each sample.

    Args:
        folder: where they are stored.
        setups: by the name of their case.
    """

    def __init__(self, folder: Path, setups: Mapping[str, SampleSetup]) -> None:
        self.setups = setups
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def reset(self, run: RunDirectory, case: str) -> None:
        """Bring the run's folder into the state before the case."""
        for pattern in (*DATA, *NOTES):
            for found in run.path.glob(pattern):
                remove(found)
        if (after := self.setups[case].after) is not None:
            shutil.copytree(self._state(after), run.path, symlinks=True, dirs_exist_ok=True)

    def copy_source(self, run: RunDirectory, scale: int, day: date) -> None:
        """Copy the source of the end of a UTC day into the run's folder."""
        # With its journal files: those of the earlier source do not belong to the new file.
        for found in run.path.glob(f"{run.source_file.name}*"):
            remove(found)
        shutil.copy(self._source(scale, day), run.source_file)

    def store_reference(self, run: RunDirectory, case: str) -> None:
        """Store the data of the control's run, which every variant's must equal."""
        for pattern in DATA:
            for found in run.path.glob(pattern):
                _copy(found, self._state(case) / found.name)

    def raise_if_different(self, run: RunDirectory, case: str) -> None:
        """Compare the warehouse with the control's, every table, value for value.

        Raises:
            PipelineError: it differs; such a run has no number.
        """
        warehouse = self._state(case) / run.warehouse.name
        if differences := compare(run.warehouse, warehouse):
            tables = ", ".join(difference.table for difference in differences)
            raise PipelineError(f"differs: {tables}", f"compare it with {warehouse}")

    def _state(self, case: str) -> Path:
        return self._folder / "after" / case

    def _source(self, scale: int, day: date) -> Path:
        file = self._folder / f"source-{scale}-{day}.db"
        if not file.exists():
            # Renamed when complete: an interrupted command leaves no half source to be copied.
            making = file.with_suffix(".making")
            making.unlink(missing_ok=True)
            fill_source(f"sqlite:///{making}", load_dataset(DATASET, scale=scale), f"{day}")
            making.rename(file)
        return file


def _copy(found: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if found.is_symlink() or found.is_file():
        shutil.copy2(found, target, follow_symlinks=False)
    else:
        shutil.copytree(found, target, symlinks=True)
