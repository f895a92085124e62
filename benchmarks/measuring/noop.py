"""A tool's own floor: as many steps as the pipeline has, none of which does anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from measuring.hosted import CPU_SECONDS, SECONDS, SPLIT, cost, hosted, mean
from measuring.plan import Metric, Values
from pipeline_verification.harness.remote_variant import NO_OP, RemoteVariant

METRICS: Mapping[str, Metric] = {
    "seconds": SECONDS,
    "cpu_seconds": CPU_SECONDS,
    **{name: SPLIT[name] for name in ("waiting", "starting")},
}


@dataclass(slots=True)
class NoOpSession:
    """A tool that is up, with a pipeline of steps that do nothing."""

    variant: RemoteVariant
    run: RunDirectory
    intervals: Sequence[DataInterval]

    @property
    def versions(self) -> Mapping[str, str]:
        """Of what it runs on."""
        return self.variant.versions

    def measure(self, case: str) -> Values:
        """Run the intervals one at a time; the mean of each number."""
        costs = [cost(self.variant, self.run, [one], backfill=False) for one in self.intervals]
        values = mean(costs)
        return {name: values[name] for name in METRICS}


@contextmanager
def no_op_session(
    variant: str, folder: Path, intervals: Sequence[DataInterval], warm_up: Sequence[DataInterval]
) -> Iterator[NoOpSession]:
    """Start the tool and run the warm-up intervals, whose cost nobody counts."""
    run = RunDirectory(folder / "noop")
    with hosted(variant, NO_OP, run) as started:
        for interval in warm_up:
            cost(started, run, [interval], backfill=False)
        yield NoOpSession(started, run, intervals)
