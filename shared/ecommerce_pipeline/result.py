"""What a step reports when it succeeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class StepResult:
    """The outcome of one step, JSON-ready.

    Attributes:
        rows: rows by table or model name.
        details: further facts worth showing, such as file sizes or a warning.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, str | int | float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {"rows": dict(self.rows), "details": dict(self.details)}
