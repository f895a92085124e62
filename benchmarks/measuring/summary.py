"""From samples to results: medians with their range, and ratios within a round."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from measuring.partial import Partial, Sample
from measuring.plan import Case, Plan, Values

Spread = dict[str, float]


def spread(values: Sequence[float]) -> Spread | None:
    """Median, minimum and maximum, rounded to 3 decimals; None without values."""
    if not values:
        return None
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def ratios(metric: str, samples: Sequence[Sample], control: Sequence[Sample]) -> list[float]:
    """Each value divided by the control's of the same round; rounds without both are left out."""
    # Within a round, as the machine's load changes between rounds: it slows both values of a pair
    # alike, so that it cancels out of their ratio, but not out of a ratio of two medians.
    base = {sample.round: sample.values.get(metric) for sample in control}
    return [
        sample.values[metric] / below
        for sample in samples
        if metric in sample.values and (below := base.get(sample.round))
    ]


def summarise(case: Case, samples: Sequence[Sample], control: Sequence[Sample]) -> dict[str, Any]:
    """For each metric that has values: their number, their spread and that of their ratios."""
    return dict(_summaries(case, samples, control))


def _summaries(
    case: Case, samples: Sequence[Sample], control: Sequence[Sample]
) -> Iterator[tuple[str, dict[str, Any]]]:
    for metric, meaning in case.metrics.items():
        values = [sample.values[metric] for sample in samples if metric in sample.values]
        if values:
            compared = ratios(metric, samples, control) if meaning.compared else []
            yield metric, {"n": len(values), **(spread(values) or {}), "ratio": spread(compared)}


def with_derived(plan: Plan, partial: Partial, control: str) -> dict[tuple[str, str], list[Sample]]:
    """All samples, with the values that the plan derives from their round added."""
    rounds = _by_round(partial)

    def extended(case: str, variant: str, sample: Sample) -> Sample:
        if sample.failure is not None:
            return sample
        mine, theirs = (rounds.get((sample.round, name), {}) for name in (variant, control))
        return replace(sample, values={**sample.values, **plan.derive(mine, theirs).get(case, {})})

    return {
        (case, variant): [extended(case, variant, sample) for sample in samples]
        for (case, variant), samples in partial.samples.items()
    }


def _by_round(partial: Partial) -> dict[tuple[int, str], dict[str, Values]]:
    """The values by round and variant, then by case; failed samples are left out."""
    rounds: dict[tuple[int, str], dict[str, Values]] = {}
    for (case, variant), samples in partial.samples.items():
        for sample in samples:
            if sample.failure is None:
                rounds.setdefault((sample.round, variant), {})[case] = sample.values
    return rounds
