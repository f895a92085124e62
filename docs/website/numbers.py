"""How numbers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

TIMES = "\N{MULTIPLICATION SIGN}"


def number(value: float) -> str:
    """Three significant digits: 1,234, with all that stand before the point; 45.6; 0.457; 0.079.

    None is finer than a thousandth, as results are not either.
    """
    if value == round(value) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    before_the_point = math.floor(math.log10(abs(value))) + 1
    return f"{value:.{min(3, 3 - before_the_point)}f}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit, which may be empty."""
    return f"{number(value)} {unit}".rstrip()


def spread(summary: Mapping[str, Any], unit: str) -> str:
    """A median with its unit; with the range too, where the samples differ."""
    return f"{quantity(summary['median'], unit)} {extent(summary)}".rstrip()


def extent(summary: Mapping[str, Any]) -> str:
    """The range in brackets; empty where all samples read the same."""
    least, greatest = number(summary["min"]), number(summary["max"])
    return "" if least == greatest else f"({least}\N{EN DASH}{greatest})"


def noticed(seconds: float | None) -> str:
    """How long after a fault it was noticed; None if never."""
    return "never" if seconds is None else f"{seconds:g} s"


def ratio(summary: Mapping[str, Any]) -> str:
    """The median ratio to the control, after a multiplication sign; empty where there is none."""
    found = summary.get("ratio")
    if not found:
        return ""
    times = found["median"]
    shown = f"{times:.2f}" if times < 10 else number(times)
    return f"{TIMES}\N{NARROW NO-BREAK SPACE}{shown}"
