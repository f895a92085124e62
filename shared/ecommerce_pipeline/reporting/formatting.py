"""How numbers, money, measurements, times, intervals and texts are written for people.

The dashboard, the notifications, the tables of a terminal and the documentation site all use it.
The site and the tools' parsers import it, so it imports neither dbt nor DuckDB, pandas or pyarrow.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from ecommerce_pipeline.interval import DataInterval

MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
# All but tab, line feed and carriage return; right-to-left marks stay, as names need them.
_HIDING = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_SHAPELESS_LETTERS = "\N{HANGUL FILLER}\N{HALFWIDTH HANGUL FILLER}\N{BRAILLE PATTERN BLANK}"
_SPANS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))
_UNITS = ((Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))


def number(value: float) -> str:
    """Three significant digits: ``1,234``, ``45.6``, ``0.457``, ``0.079``.

    All digits before the decimal point are kept, and at most three after it, as the committed
    results have no more.
    """
    if value == round(value) or abs(value) >= 99.95:
        return f"{value:,.0f}"
    digits_before_point = math.floor(math.log10(abs(value))) + 1
    return f"{value:.{min(3, 3 - digits_before_point)}f}"


def quantity(value: float, unit: str) -> str:
    """A number with its unit, which may be empty: ``45.6 MB``."""
    return f"{number(value)} {unit}".rstrip()


def spread(summary: Mapping[str, Any], unit: str) -> str:
    """The median with its unit, and the range in brackets where the samples differ.

    Args:
        summary: of samples: ``median``, ``min`` and ``max``.
        unit: of the samples; may be empty.
    """
    return f"{quantity(summary['median'], unit)} {value_range(summary)}".rstrip()


def value_range(summary: Mapping[str, Any]) -> str:
    """The samples' range in brackets; empty where both ends are written the same."""
    low, high = number(summary["min"]), number(summary["max"])
    return "" if low == high else f"({low}\N{EN DASH}{high})"


def ratio(summary: Mapping[str, Any]) -> str:
    """The median ratio to the control, after a multiplication sign; empty where there is none."""
    found = summary.get("ratio")
    if not found:
        return ""
    median = found["median"]
    shown = f"{median:.2f}" if median < 10 else number(median)
    return f"{TIMES}\N{NARROW NO-BREAK SPACE}{shown}"


def seconds_or_never(seconds: float | None) -> str:
    """Seconds until something happened: ``0.5 s``; ``never`` for None."""
    return "never" if seconds is None else f"{seconds:g} s"


def text(value: str | None, blank: str = "(blank)") -> str:
    """A text of the data, as nobody can mistake it for another.

    Control characters and Unicode's direction overrides, embeddings and isolates, which hide or
    reorder what is around them, are written as ``[U+202E]``; line breaks and tabs stay.

    Args:
        value: the text; None for NULL.
        blank: what stands for NULL, and for a text without a visible character.
    """
    shown = visible("" if value is None else value)
    return shown if any(map(_has_a_shape, shown)) else blank


def visible(value: str) -> str:
    """The text with every character that hides or reorders others written as its code."""
    return _HIDING.sub(lambda found: f"[U+{ord(found[0]):04X}]", value)


def _has_a_shape(character: str) -> bool:
    format_or_space = unicodedata.category(character) in ("Cf", "Zs") or character.isspace()
    return not format_or_space and character not in _SHAPELESS_LETTERS


def money(amount: Decimal) -> str:
    """Dollars and cents, exact: ``$1,234.50``."""
    return f"{MINUS if amount < 0 else ''}${abs(amount):,.2f}"


def short_money(amount: Decimal) -> str:
    """Dollars for an axis: ``$0``, ``$2.5k``, ``$30M``."""
    size, unit = next(((s, u) for s, u in _UNITS if abs(amount) >= s), (Decimal(1), ""))
    scaled = (abs(amount) / size).normalize()
    return f"{MINUS if amount < 0 else ''}${scaled:f}{unit}"


def day(value: date | str) -> str:
    """A date: ``3 Jan 2025``; a text, for a date outside Python's calendar, is left as it is."""
    return value if isinstance(value, str) else f"{value.day} {value:%b} {value.year:04}"


def day_and_month(value: date) -> str:
    """A date within a known year: ``3 Jan``."""
    return f"{value.day} {value:%b}"


def month(value: date) -> str:
    """The month of a date: ``Jan 2025``."""
    return f"{value:%b} {value.year:04}"


def time(value: datetime) -> str:
    """A UTC time to the minute: ``3 Jan 2025, 22:14 UTC``."""
    return f"{day(value)}, {value:%H:%M} UTC"


def interval(value: DataInterval) -> str:
    """A whole UTC day by its date, any other interval by both ends."""
    if value.is_day:
        return day(value.start)
    return f"{time(value.start)} to {time(value.end)}"


def says_its_unit(title: str, unit: str) -> bool:
    """Whether a number's title needs no unit beside it, as in ``packages`` or ``CPU seconds``."""
    return unit in ("", title) or (unit == "s" and title.endswith("seconds"))


def duration(value: timedelta | float) -> str:
    """A span or a number of seconds in its two largest units: ``0.42 s``, ``5 h 12 min``."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if round(seconds, 2) < 10:
        return f"{seconds:.2f} s"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    size, unit, smaller_size, smaller = next(row for row in _SPANS if whole >= row[0])
    rest = whole % size // smaller_size
    return f"{whole // size} {unit}" + (f" {rest} {smaller}" if rest else "")
