"""Medians, spreads and ratios."""

from __future__ import annotations

import pytest

from measuring.partial import Sample
from measuring.plan import Case, Metric
from measuring.summary import ratios, spread, summarise

CASE = Case(
    "a case",
    {"seconds": Metric("s", "seconds"), "goal": Metric("", "of the goal", compared=False)},
)


def _samples(*seconds: float | None) -> list[Sample]:
    return [
        Sample(number, {}, "it broke") if value is None else Sample(number, {"seconds": value})
        for number, value in enumerate(seconds, 1)
    ]


def test_spread_of_an_even_number() -> None:
    """The median of four values is the mean of the middle two."""
    assert spread([4.0, 1.0, 3.0, 10.0]) == {"median": 3.5, "min": 1.0, "max": 10.0}


def test_spread_of_nothing() -> None:
    """No values have no spread."""
    assert spread([]) is None


def test_ratio_within_a_round() -> None:
    """A value is divided by the control's of the same round, whatever the others were."""
    assert ratios("seconds", _samples(4.0, 30.0), _samples(2.0, 10.0)) == [2.0, 3.0]


def test_ratio_without_a_partner() -> None:
    """A round in which the variant or the control failed has no ratio; the others keep theirs."""
    variant, control = _samples(4.0, None, 9.0), _samples(None, 1.0, 3.0)
    assert ratios("seconds", variant, control) == [3.0]


def test_summary() -> None:
    """A failed sample counts in no number, and a metric without values has no summary."""
    summary = summarise(CASE, _samples(4.0, None, 6.0), _samples(2.0, 2.0, 2.0))
    assert summary == {
        "seconds": {
            "n": 2,
            "median": 5.0,
            "min": 4.0,
            "max": 6.0,
            "ratio": {"median": 2.5, "min": 2.0, "max": 3.0},
        }
    }


def test_ratio_has_no_ratio() -> None:
    """What is a ratio already has none to the control's."""
    goal = [Sample(1, {"goal": 0.9})]
    assert summarise(CASE, goal, goal)["goal"]["ratio"] is None


def test_control_that_always_failed() -> None:
    """Without any value of the control there are numbers but no ratio."""
    summary = summarise(CASE, _samples(4.0), _samples(None))
    assert summary["seconds"]["median"] == pytest.approx(4.0)
    assert summary["seconds"]["ratio"] is None
