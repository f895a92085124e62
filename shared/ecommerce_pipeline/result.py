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

    @property
    def summary(self) -> str:
        """One line for a log: rows by name, then the details."""
        words = [
            f"{name}: {count} {'row' if count == 1 else 'rows'}"
            for name, count in self.rows.items()
        ]
        words += [f"{name}: {value}" for name, value in self.details.items()]
        return ", ".join(words) or "nothing to report"

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {"rows": dict(self.rows), "details": dict(self.details)}
