"""What a seed decides: the way of running, the moment, and the process that is killed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

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
        """The choices of a seed; consecutive seeds take turns through the modes."""
        chance = random.Random(seed)  # noqa: S311 (to be repeated, not to be secret)
        # Half of the moments are uniform over the day. The other half are uniform over the steps,
        # for some of these are too short to be hit by the first half.
        step = chance.choice(STEP_NAMES) if chance.random() < 0.5 else None
        numbers = [chance.random() for _ in range(3)]
        return cls(seed, modes[seed % len(modes)], step, *numbers)


@dataclass(frozen=True, slots=True)
class Timetable:
    """An uninterrupted day, in seconds since its trigger.

    Attributes:
        seconds: how long the day took.
        steps: when each step began and ended.
    """

    seconds: float
    steps: Mapping[str, tuple[float, float]]

    @classmethod
    def of(cls, triggered: datetime, seconds: float, entries: Sequence[JournalEntry]) -> Timetable:
        """The timetable of a day whose steps noted these entries."""
        return cls(
            seconds,
            {
                entry.step: (
                    (entry.started_at - triggered).total_seconds(),
                    (entry.ended_at - triggered).total_seconds(),
                )
                for entry in entries
            },
        )

    def moment(self, draw: Draw) -> float:
        """When the kill comes, in seconds since the trigger."""
        begin, end = self.steps.get(draw.step or "", (0.0, self.seconds))
        return begin + draw.fraction * (end - begin)

    def scaled_to(self, seconds: float) -> Timetable:
        """The same day at another speed."""
        factor = seconds / self.seconds
        steps = {name: (begin * factor, end * factor) for name, (begin, end) in self.steps.items()}
        return Timetable(seconds, steps)
