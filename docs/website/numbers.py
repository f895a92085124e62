"""How numbers are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def number(value: float) -> str:
    """Three significant digits, and no fewer than all before the point: 1,234; 45.6; 0.0789."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2
    while abs(value) >= 10 ** (3 - digits):
        digits -= 1
    while abs(value) < 10 ** (-digits + 2) and digits < 6 and abs(value) < 1:
        digits += 1
    return f"{value:.{digits}f}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit, which may be empty."""
    return f"{number(value)} {unit}".rstrip()


def spread(summary: Mapping[str, Any], unit: str) -> str:
    """A median with its unit; with the range too, where the samples differ."""
    text = quantity(summary["median"], unit)
    if summary["min"] == summary["max"]:
        return text
    return f"{text} ({number(summary['min'])}–{number(summary['max'])})"


def ratio(summary: Mapping[str, Any]) -> str:
    """The median ratio to the control, ``×`` before it; empty where there is none."""
    return (
        ""
        if not summary.get("ratio")
        else f"×\N{NARROW NO-BREAK SPACE}{summary['ratio']['median']:.2f}"
    )
