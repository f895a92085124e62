"""How numbers, money, measurements, times and intervals are written."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.reporting import formatting
from support.small_warehouse import moment

DASH, TIMES = "\N{EN DASH}", "\N{MULTIPLICATION SIGN}\N{NARROW NO-BREAK SPACE}"
HEAVY = ("dbt", "duckdb", "pandas", "pyarrow", "numpy")


def summary(median: float, low: float, high: float, ratio: float | None = None) -> dict[str, Any]:
    """A summary of samples as the results have it."""
    found = None if ratio is None else {"median": ratio}
    return {"median": median, "min": low, "max": high, "ratio": found}


def test_formatting_imports_nothing_heavy() -> None:
    """The documentation's environment has none of the data packages, so none is imported."""
    code = (
        "import sys; import ecommerce_pipeline.reporting.formatting;"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (46.0, "46"),
        (1234.5, "1,234"),
        (1_239_000.0, "1,239,000"),
        (99.96, "100"),
        (45.64, "45.6"),
        (3.14159, "3.14"),
        (0.1234, "0.123"),
        (0.0234, "0.023"),
        (-45.64, "-45.6"),
    ],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    """Three digits; all before the point; at most three after it, none for a whole number."""
    assert formatting.number(value) == text


@pytest.mark.parametrize(("unit", "text"), [("MB", "45.6 MB"), ("", "45.6")])
def test_a_quantity_has_its_unit(unit: str, text: str) -> None:
    """The unit follows the number; without a unit there is no space."""
    assert formatting.quantity(45.64, unit) == text


@pytest.mark.parametrize(
    ("samples", "spread", "value_range"),
    [
        (summary(10.0, 9.0, 12.0), f"10 s (9{DASH}12)", f"(9{DASH}12)"),
        (summary(0.1234, 0.1, 1.5), f"0.123 s (0.100{DASH}1.50)", f"(0.100{DASH}1.50)"),
        (summary(10.0, 10.0, 10.0), "10 s", ""),
        (summary(45.62, 45.61, 45.63), "45.6 s", ""),
    ],
)
def test_a_range_is_shown_where_samples_differ(
    samples: dict[str, Any], spread: str, value_range: str
) -> None:
    """The range is in brackets after the median, and left out where its ends read the same."""
    assert formatting.spread(samples, "s") == spread
    assert formatting.value_range(samples) == value_range


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (1.0, f"{TIMES}1.00"),
        (2.664, f"{TIMES}2.66"),
        (9.99, f"{TIMES}9.99"),
        (10.0, f"{TIMES}10"),
        (12.34, f"{TIMES}12.3"),
        (None, ""),
    ],
)
def test_a_ratio_has_two_decimals_below_ten(ratio: float | None, text: str) -> None:
    """A ratio below 10 has two decimals, a greater one three digits; without one nothing shows."""
    assert formatting.ratio(summary(1.0, 1.0, 1.0, ratio)) == text


def test_a_summary_without_the_key_has_no_ratio() -> None:
    """A summary that has no key for the ratio is written as one without a ratio."""
    assert formatting.ratio({"median": 1.0}) == ""


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0.5 s"), (12.0, "12 s"), (None, "never")])
def test_what_never_happened_has_no_seconds(seconds: float | None, text: str) -> None:
    """None seconds is never; other seconds are written without trailing zeros."""
    assert formatting.seconds_or_never(seconds) == text


@pytest.mark.parametrize(
    ("amount", "exact", "short"),
    [
        ("0", "$0.00", "$0"),
        ("-0.05", "\N{MINUS SIGN}$0.05", "\N{MINUS SIGN}$0.05"),
        ("1234.50", "$1,234.50", "$1.2345k"),
        ("2500", "$2,500.00", "$2.5k"),
        ("-30000000", "\N{MINUS SIGN}$30,000,000.00", "\N{MINUS SIGN}$30M"),
        ("9007199254740993.01", "$9,007,199,254,740,993.01", "$9007199.25474099301B"),
    ],
)
def test_money_is_written_exactly(amount: str, exact: str, short: str) -> None:
    """Money keeps every cent; the short form keeps every digit that is not zero."""
    assert (formatting.money(Decimal(amount)), formatting.short_money(Decimal(amount))) == (
        exact,
        short,
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.00 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min"),
        (60, "1 min"),
        (119.6, "2 min"),
        (3661, "1 h 1 min"),
        (172800, "2 d"),
        (180000, "2 d 2 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    """Durations are rounded before they are split into units."""
    assert formatting.duration(seconds) == text


def test_intervals_are_days_or_both_ends() -> None:
    """A whole UTC day is its date; any other interval names both ends."""
    assert formatting.interval(DataInterval.for_day(date(2025, 1, 3))) == "3 Jan 2025"
    part = DataInterval(moment(3, 6), moment(3, 12))
    assert formatting.interval(part) == "3 Jan 2025, 06:00 UTC to 3 Jan 2025, 12:00 UTC"


@pytest.mark.parametrize(
    ("title", "unit", "said"),
    [
        ("packages", "packages", True),
        ("of control + floor", "", True),
        ("CPU seconds", "s", True),
        ("waiting", "s", False),
        ("CPU seconds", "s/min", False),
    ],
)
def test_a_unit_is_not_said_twice(title: str, unit: str, said: bool) -> None:
    """A title says its unit when it is the unit, or has none, or ends with seconds for seconds."""
    assert formatting.says_its_unit(title, unit) is said


def test_dates_and_times_are_short() -> None:
    """A date has no leading zero; a time is to the minute and names UTC."""
    value = datetime(2025, 1, 3, 22, 4, 59, tzinfo=UTC)
    assert formatting.day(value.date()) == "3 Jan 2025"
    assert formatting.day_and_month(value.date()) == "3 Jan"
    assert formatting.month(value.date()) == "Jan 2025"
    assert formatting.time(value) == "3 Jan 2025, 22:04 UTC"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Zoë 🧑\u200d🚀\nמשה\u200f", "Zoë 🧑\u200d🚀\nמשה\u200f"),
        ("\u202edesrever\u202c", "[U+202E]desrever[U+202C]"),
        ("a\u2066b\u2069c", "a[U+2066]b[U+2069]c"),
        ("a\x1b[31m\x00\x7f\x85b", "a[U+001B][31m[U+0000][U+007F][U+0085]b"),
        ("a\u2028b\u2029c", "a[U+2028]b[U+2029]c"),
        ("\u202e", "[U+202E]"),
    ],
)
def test_characters_that_reorder_or_hide_text_are_shown(value: str, text: str) -> None:
    """Control characters and direction overrides are written as their code, other text as it is."""
    assert formatting.text(value) == text


@pytest.mark.parametrize(
    "value", [None, "", " ", "\n\t", "\u200b\u00a0", "\ufeff", "\u3164", "\u2800"]
)
def test_a_text_that_nobody_could_see_is_named(value: str | None) -> None:
    """NULL, the empty text and one without a visible character are replaced by a word."""
    assert formatting.text(value) == "(blank)"
    assert formatting.text(value, "Customer 7") == "Customer 7"


def test_days_of_any_year_are_written() -> None:
    """A year has four digits; a day that Python's calendar lacks is as DuckDB writes it."""
    assert formatting.day(date(1, 1, 1)) == "1 Jan 0001"
    assert formatting.month(date(44, 3, 1)) == "Mar 0044"
    assert formatting.day("0044-03-15 (BC)") == "0044-03-15 (BC)"


def test_a_span_is_written_like_its_seconds() -> None:
    """A timedelta and its number of seconds give the same text."""
    assert formatting.duration(timedelta(hours=5, minutes=12)) == "5 h 12 min"
    assert formatting.duration(18720) == "5 h 12 min"
