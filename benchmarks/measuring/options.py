"""What the command asks of a benchmark, and what a benchmark returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """The command's options.

    Attributes:
        out: the folder for the results.
        partial: the folder for the samples of an interrupted measurement.
        rounds: how often everything is measured.
        quick: the smallest sizes; shows only that the benchmark runs.
        variants: measure only these; None means all.
        cases: measure only these; None means all.
        fresh: ignore the samples of an interrupted measurement.
    """

    out: Path
    partial: Path
    rounds: int = ROUNDS
    quick: bool = False
    variants: tuple[str, ...] | None = None
    cases: tuple[str, ...] | None = None
    fresh: bool = False

    @property
    def whole(self) -> bool:
        """Whether every variant and case is measured, in full size."""
        return self.variants is None and self.cases is None and not self.quick

    @property
    def keeps_other_cases(self) -> bool:
        """Whether some of the cases are measured for every variant, beside those of a file."""
        return self.cases is not None and self.variants is None and not self.quick


@dataclass(frozen=True, slots=True)
class BenchmarkOutcome:
    """The result of one benchmark.

    Attributes:
        file: the results file.
        lines: the results as a table for a terminal.
        failures: how many of the samples taken now failed.
    """

    file: Path
    lines: tuple[str, ...]
    failures: int


def select(kind: str, wanted: Iterable[str] | None, known: Iterable[str]) -> tuple[str, ...]:
    """The wanted names, in the order of ``known``; all of them where ``wanted`` is None.

    Raises:
        PipelineError: a wanted name is not known.
    """
    known, wanted = tuple(known), set(known if wanted is None else wanted)
    if unknown := wanted - set(known):
        raise PipelineError(
            f"there is no {kind} {', '.join(sorted(unknown))}", f"choose from {', '.join(known)}"
        )
    return tuple(name for name in known if name in wanted)
