"""One kill as the results have it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ecommerce_pipeline.harness.variant import NATIVE, name_in_form
from pipeline_verification.harness.environments import ROOT

RESULTS = ROOT / "verification" / "results"
WENT_ON, RETRIED, RUN_AGAIN, RESUMED = (
    "the run went on",
    "the tool's retry",
    "the interval run again",
    "run.py --resume",
)
RESTARTED = "a restart of the tool by a person"
NOT_RECOVERED = "not recovered"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and what it led to.

    Attributes:
        seed: decides mode, moment and process.
        mode: ``pipeline`` or ``resume``, see ``Draw``.
        process: what was killed.
        steps: the steps at work in that moment; none between two steps.
        seconds: when, since the day's trigger.
        day_seconds: how long that day was expected to take.
        recovered_by: one of the texts above.
        triggers: how many times the day was started in all.
        recovery_seconds: from the kill to the day's end.
        differing: the tables, or other parts of the output, that differ; must be empty.
        problems: every difference, error of the reader and process left over; must be empty.
        reads: how many times the reader read the published copy meanwhile.
        commit: the code that ran, with ``+`` where it had uncommitted changes; None without Git.
    """

    seed: int
    mode: str
    process: str
    steps: list[str]
    seconds: float
    day_seconds: float
    recovered_by: str
    triggers: int
    recovery_seconds: float
    differing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reads: int = 0
    commit: str | None = None

    @property
    def equal(self) -> bool:
        """Whether everything is as after an uninterrupted day."""
        return not self.differing and not self.problems and self.recovered_by != NOT_RECOVERED


def result_file(variant: str, form: str = NATIVE) -> Path:
    """Where the committed results of a variant in a form are."""
    return RESULTS / f"random_kills-{name_in_form(variant, form)}.json"
