"""What stands in a run's folder before a sample, and what must stand in its warehouse after it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.compare import compare
from pipeline_verification.harness.control import fill_source

DATASET = "synthetic"
DATA = ("landing", "warehouse.duckdb*", "published", ".published", "dashboard")
"""What intervals leave for later ones; the tool's home and dbt's parse of the project are kept."""
NOTES = ("notifications.jsonl", "logs/steps.jsonl")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What one sample of a case does.

    Attributes:
        intervals: what is run.
        backfill: through the tool's own backfill, all at once, instead of one after the other.
        scale: the size of the data set.
        after: the scenario whose data stand in the folder before; None for an empty folder.
    """

    intervals: Sequence[DataInterval]
    backfill: bool = False
    scale: int = 1
    after: str | None = None

    @property
    def batches(self) -> Iterator[Sequence[DataInterval]]:
        """The intervals that are triggered together; the source stands at the end of each batch."""
        if self.backfill:
            yield self.intervals
        else:
            yield from ([interval] for interval in self.intervals)


class Stage:
    """Sources and warehouses, made once and copied before each sample.

    Args:
        folder: where they are.
        scenarios: by the name of their case.
    """

    def __init__(self, folder: Path, scenarios: Mapping[str, Scenario]) -> None:
        self.scenarios = scenarios
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def reset(self, run: RunDirectory, case: str) -> None:
        """Put the run's folder into the state before the case."""
        for pattern in (*DATA, *NOTES):
            for found in run.path.glob(pattern):
                _remove(found)
        if (after := self.scenarios[case].after) is not None:
            shutil.copytree(self._state(after), run.path, symlinks=True, dirs_exist_ok=True)

    def put_source(self, run: RunDirectory, scale: int, day: date) -> None:
        """Have the run's source stand at the end of a day."""
        for found in run.path.glob(f"{run.source_file.name}*"):
            found.unlink()
        shutil.copy(self._source(scale, day), run.source_file)

    def keep(self, run: RunDirectory, case: str) -> None:
        """Take what the control left as what every variant must leave."""
        for pattern in DATA:
            for found in run.path.glob(pattern):
                _copy(found, self._state(case) / found.name)

    def must_equal(self, run: RunDirectory, case: str) -> None:
        """Hold the warehouse against the control's, every table, value for value.

        Raises:
            PipelineError: it differs; such a run gets no number.
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


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
