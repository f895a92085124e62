"""What a seed decides: the way of running, the moment, and the process that is killed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage.journal import JournalEntry

PIPELINE, RESUME = "pipeline", "resume"
MODES = (PIPELINE, RESUME)


@dataclass(frozen=True, slots=True)
class Draw:
    """The random choices of one kill; the same seed always gives the same ones.

    Attributes:
        seed: what they follow from.
        mode: for the control: ``pipeline`` kills any process of ``pipeline.py``, ``resume`` kills
            ``run.py``, which is then started again with ``--resume``. Always ``pipeline`` for a
            tool.
        step: the step in whose time the kill comes; None for any moment of the day.
        fraction: how far into the step, or into the day, from 0 to 1.
        kind: which of the kinds of processes, from 0 to 1.
        member: which process of that kind, from 0 to 1.
    """

    seed: int
    mode: str
    step: str | None
    fraction: float
    kind: float
    member: float

    @classmethod
    def of(cls, seed: int, modes: Sequence[str] = (PIPELINE,)) -> Draw:
        """The choices of a seed; consecutive seeds take turns through the modes and the steps."""
        turn, mode = divmod(seed, len(modes))
        # Half of the moments are uniform over the day. The other half go through the steps, for
        # some of these are too short to be hit by the first half.
        step = STEP_NAMES[turn // 2 % len(STEP_NAMES)] if turn % 2 else None
        chance = random.Random(seed)  # noqa: S311 (to be repeated, not to be secret)
        return cls(seed, modes[mode], step, *(chance.random() for _ in range(3)))


@dataclass(frozen=True, slots=True)
class Timetable:
    """An uninterrupted day.

    Attributes:
        seconds: how long it took from its trigger on.
        steps: how long each step took, in seconds.
    """

    seconds: float
    steps: Mapping[str, float]

    @classmethod
    def of(cls, seconds: float, entries: Sequence[JournalEntry]) -> Timetable:
        """The timetable of a day whose steps noted these entries."""
        return cls(seconds, {entry.step: entry.seconds for entry in entries})

    def delay(self, draw: Draw) -> float:
        """When the kill comes, in seconds since the begin of the draw's step, or of the day."""
        return draw.fraction * (self.steps.get(draw.step, 0.0) if draw.step else self.seconds)
