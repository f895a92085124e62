"""The history of a run: when its source advanced, and which intervals succeeded in between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from ecommerce_pipeline.interval import DataInterval, parse_day


@dataclass(frozen=True, slots=True)
class SourceAdvanced:
    """The source was brought to the end of a UTC day."""

    to_day: date


@dataclass(frozen=True, slots=True)
class IntervalSucceeded:
    """All steps of an interval succeeded, with the source as the last advance left it."""

    interval: DataInterval


Event = SourceAdvanced | IntervalSucceeded


def parse_history(entries: Sequence[Mapping[str, str]]) -> tuple[Event, ...]:
    """Read the history of a run record, in order, without the runs that failed.

    Args:
        entries: ``{"advance": DAY}``, or ``{"interval": START/END}`` with the run's ``state``.

    Raises:
        ValueError: an entry is neither.
        PipelineError: a day or an interval is malformed.
    """
    # Whatever a failed run has loaded, the repetition that succeeds loads again.
    return tuple(_event(entry) for entry in entries if entry.get("state") != "failed")


def runs_day_by_day(history: Sequence[Event]) -> bool:
    """Whether each interval ran right after the source had advanced to its day, in order.

    Only then is it known which versions of the customers the snapshot has seen.
    """
    days: list[date] = []
    for before, event in zip((None, *history), history, strict=False):
        if isinstance(event, SourceAdvanced):
            continue
        if not isinstance(before, SourceAdvanced):
            return False
        if event.interval != DataInterval.for_day(before.to_day):
            return False
        days.append(before.to_day)
    return days == sorted(set(days))


def _event(entry: Mapping[str, str]) -> Event:
    match dict(entry):
        case {"advance": day}:
            return SourceAdvanced(parse_day(day))
        case {"interval": interval}:
            return IntervalSucceeded(DataInterval.parse(interval))
        case other:
            raise ValueError(f"{other} is neither an advance nor an interval")
