"""What a verb that measures variants tells: its cases, its metrics, and how a sample is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline_verification.harness.environments import CONTROL, variant_names

Values = dict[str, float]


@dataclass(frozen=True, slots=True)
class Metric:
    """What one number means.

    Attributes:
        unit: empty for a ratio.
        title: the name that tables and charts show.
        compared: whether it is put in relation to the control's.
    """

    unit: str
    title: str
    compared: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured, for every variant in every round.

    Attributes:
        description: what happens between the clock's start and its end.
        metrics: what a sample holds; the first one is the case's headline.
    """

    description: str
    metrics: Mapping[str, Metric]


class Session(Protocol):
    """A variant that is ready to be measured."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Of what it runs on, known once a sample was taken; empty where it is not known."""

    def measure(self, case: str) -> Values:
        """Take one sample.

        Raises:
            Exception: there is no number; the message says why.
        """


@dataclass(frozen=True, slots=True)
class Group:
    """Cases that share a session.

    Attributes:
        cases: by name, in the order in which they are measured.
        open: makes the session from the variant's name and a scratch folder that is its own.
    """

    cases: Mapping[str, Case]
    open: Callable[[str, Path], AbstractContextManager[Session]]


Round = Mapping[str, Values]
"""One variant's values in one round, by case."""


def nothing_derived(variant: Round, control: Round) -> dict[str, Values]:
    """No further numbers."""
    return {}


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a verb measures.

    Attributes:
        verb: its name, and that of its results file.
        title: what it measures, in a few words.
        groups: what is measured; in a round each variant goes through all of them.
        derive: further values by case, from a variant's values of a round and the control's.
        variants: the names of what is compared, by default every way to run the pipeline.
        control: the one of them that the others are put in relation to.
    """

    verb: str
    title: str
    groups: tuple[Group, ...]
    derive: Callable[[Round, Round], dict[str, Values]] = nothing_derived
    variants: tuple[str, ...] = field(default_factory=variant_names)
    control: str = CONTROL

    @property
    def cases(self) -> dict[str, Case]:
        """The cases of all groups by name."""
        return {name: case for group in self.groups for name, case in group.cases.items()}
