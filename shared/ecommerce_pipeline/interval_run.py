"""One run of one data interval, as each tool's own API reports it: states, steps and times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SUCCESS = "success"
FAILED = "failed"
SKIPPED = "skipped"
RUNNING = "running"


@dataclass(frozen=True, slots=True)
class StepRun:
    """One step of one interval's run.

    Attributes:
        name: the step's name in the specification.
        state: ``success``, ``failed``, ``skipped`` or ``running``.
        tool_state: the state's name in the tool's own words.
        attempts: how many times the tool started it.
        started_at: when its last attempt started, UTC; None where it never did.
        ended_at: when its last attempt ended, UTC; None where it never did.
        rows: rows by table or model, from the step's own result.
        warnings: what the step's own result warns of; empty where it warns of nothing.
    """

    name: str
    state: str
    tool_state: str
    attempts: int
    started_at: datetime | None
    ended_at: datetime | None
    rows: Mapping[str, int] = field(default_factory=dict)
    warnings: str = ""


@dataclass(frozen=True, slots=True)
class IntervalRun:
    """One run of one data interval, with the steps in the order in which they started."""

    interval: str
    run_id: str
    state: str
    tool_state: str
    started_at: datetime | None
    ended_at: datetime | None
    steps: tuple[StepRun, ...]


def to_json(value: DataclassInstance) -> dict[str, Any]:
    """A record as JSON values; times are ISO 8601 in UTC with the suffix Z."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(value), default=_time_to_json))
    return values


def interval_run_from_json(values: Mapping[str, Any]) -> IntervalRun:
    """The inverse of ``to_json`` for one interval's run."""
    steps = tuple(StepRun(**_with_times(step)) for step in values["steps"])
    return IntervalRun(**{**_with_times(values), "steps": steps})


def _with_times(values: Mapping[str, Any]) -> dict[str, Any]:
    times = {
        name: values[name] and datetime.fromisoformat(values[name])
        for name in ("started_at", "ended_at")
    }
    return {**values, **times}


def _time_to_json(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    raise TypeError(f"no JSON form for {type(value).__name__}")
