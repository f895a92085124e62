"""What a benchmark declares: its cases, its metrics, and how a sample is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from pipeline_verification.harness.environments import CONTROL, variant_names

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """What one number means.

    Attributes:
        unit: empty for a ratio.
        title: the name in tables and charts.
        compared: whether its ratio to the control's value is computed.
    """

    unit: str
    title: str
    compared: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, for every variant in every round.

    Attributes:
        description: what happens between the clock's start and its end.
        metrics: what a sample holds; the first one is the case's main metric.
    """

    description: str
    metrics: Mapping[str, Metric]

    @property
    def main_metric(self) -> str:
        """The name of the metric that every successful sample has."""
        return next(iter(self.metrics))


class Session(Protocol):
    """A variant that is ready to be measured."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions of the variant's packages, known after a sample; empty where unknown."""

    def measure(self, case: str) -> Values:
        """Take one sample.

        Raises:
            Exception: there is no number; the message says why.
        """


@runtime_checkable
class SessionWithNotes(Protocol):
    """A session that also finds out what is not a number; results keep it beside the samples."""

    @property
    def notes(self) -> Mapping[str, Any]:
        """JSON values by name, known after a sample; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that share a session.

    Attributes:
        cases: by name, in the order in which they are measured.
        open: makes the session from the variant's name and a scratch folder for it alone.
        variants: the only ones that have these cases; None means all of the plan.
    """

    cases: Mapping[str, Case]
    open: Callable[[str, Path], AbstractContextManager[Session]]
    variants: tuple[str, ...] | None = None

    def has(self, variant: str) -> bool:
        """Whether the variant has these cases."""
        return self.variants is None or variant in self.variants


Round = Mapping[str, Values]
"""One variant's values in one round, by case."""


def nothing_derived(variant: Round, control: Round) -> dict[str, Values]:
    """No further numbers."""
    return {}


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a benchmark measures.

    Attributes:
        benchmark: its name, and that of its results file.
        title: what it measures, in a few words.
        groups: what is measured; in a round each variant goes through all of them.
        derive: further values by case, from a variant's values of a round and the control's.
        variants: the names of what is compared, by default every variant of the pipeline.
        control: the one of them to which the others' ratios are computed.
        once: what is measured a single time, after the last round, as it would disturb the rounds.
    """

    benchmark: str
    title: str
    groups: tuple[Group, ...]
    derive: Callable[[Round, Round], dict[str, Values]] = nothing_derived
    variants: tuple[str, ...] = field(default_factory=variant_names)
    control: str = CONTROL
    once: tuple[Group, ...] = ()

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """Those of every round, then those that are measured once."""
        return (*self.groups, *self.once)

    @property
    def cases(self) -> dict[str, Case]:
        """The cases of all groups by name."""
        return {name: case for group in self.all_groups for name, case in group.cases.items()}

    def has(self, case: str, variant: str) -> bool:
        """Whether the case is measured for the variant."""
        return any(case in group.cases and group.has(variant) for group in self.all_groups)
