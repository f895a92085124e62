"""What happened to a run: when its source advanced, and which intervals ran in between."""

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
    """All steps ran for an interval, extracting from the source as it stood."""

    interval: DataInterval


Event = SourceAdvanced | IntervalSucceeded


def parse_history(entries: Sequence[Mapping[str, str]]) -> tuple[Event, ...]:
    """Read the history of a run record, in order.

    Args:
        entries: ``{"advance": DAY}``, or ``{"interval": START/END}`` with the run's ``state``.

    A run that failed is left out: what it changed is settled by the repetition that succeeds.

    Raises:
        ValueError: an entry is neither.
        PipelineError: a day or an interval is malformed.
    """
    return tuple(_event(entry) for entry in entries if entry.get("state") != "failed")


def runs_day_by_day(history: Sequence[Event]) -> bool:
    """Whether each interval ran right after the source reached its last day, in ascending order.

    Then the order in which the snapshot saw the customers is known.
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
