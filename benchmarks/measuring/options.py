"""What the command asks of a verb."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options.

    Attributes:
        out: the folder for the results.
        partial: the folder for what an interrupted measurement has so far.
        rounds: how often everything is measured.
        quick: the smallest sizes: does it still run?
        variants: only these; None means all.
        cases: only these; None means all.
        fresh: forget what an interrupted measurement has.
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
        """Whether nothing was left out."""
        return self.variants is None and self.cases is None and not self.quick


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a verb wrote: where, as lines for people, and how many samples failed."""

    file: Path
    lines: tuple[str, ...]
    failures: int


def chosen(kind: str, wanted: Iterable[str] | None, known: Iterable[str]) -> tuple[str, ...]:
    """The known names that are wanted, in their known order.

    Raises:
        PipelineError: one that is wanted is not known.
    """
    known, wanted = tuple(known), set(known if wanted is None else wanted)
    if strange := wanted - set(known):
        raise PipelineError(
            f"there is no {kind} {', '.join(sorted(strange))}", f"choose from {', '.join(known)}"
        )
    return tuple(name for name in known if name in wanted)
