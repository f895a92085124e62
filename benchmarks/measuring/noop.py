"""A tool's own floor: as many steps as the pipeline has, none of which does anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.harness.variant import NO_OP
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from measuring.interval_cost import (
    CPU_SECONDS,
    SECONDS,
    SPLIT,
    mean,
    measure_intervals,
    running_variant,
)
from measuring.plan import Metric, Values
from pipeline_verification.harness.remote_variant import RemoteVariant

METRICS: Mapping[str, Metric] = {
    "seconds": SECONDS,
    "cpu_seconds": CPU_SECONDS,
    **{name: SPLIT[name] for name in ("waiting", "starting")},
}


@dataclass(slots=True)
class NoOpSession:
    """A started tool with a pipeline of steps that do nothing."""

    variant: RemoteVariant
    run: RunDirectory
    intervals: Sequence[DataInterval]

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the variant's packages."""
        return self.variant.versions

    def measure(self, case: str) -> Values:
        """Run the intervals one at a time; the mean of each number."""
        values = mean(
            [
                measure_intervals(self.variant, self.run, [interval], backfill=False)
                for interval in self.intervals
            ]
        )
        return {name: values[name] for name in METRICS}


@contextmanager
def no_op_session(
    variant: str, folder: Path, intervals: Sequence[DataInterval], warm_up: Sequence[DataInterval]
) -> Iterator[NoOpSession]:
    """Start the tool and run the warm-up intervals, whose cost does not count."""
    run = RunDirectory(folder / "noop")
    with running_variant(variant, NO_OP, run) as started:
        for interval in warm_up:
            measure_intervals(started, run, [interval], backfill=False)
        yield NoOpSession(started, run, intervals)
