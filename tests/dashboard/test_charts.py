"""The geometry of the dashboard's charts."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_pipeline.reporting.dashboard import charts

AMOUNTS = st.decimals("-1e12", "1e12", places=2)
DAYS = st.dates(date(2015, 1, 1), date(2026, 12, 31))


@given(by_day=st.dictionaries(DAYS, AMOUNTS, min_size=1, max_size=20))
def test_the_chart_shows_all_revenue_inside_its_frame(by_day: dict[date, Decimal]) -> None:
    """The periods cover every day once and sum to the revenue; all bars lie within the frame."""
    chart = charts.revenue_chart(by_day)
    assert chart is not None
    periods = [mark.period for mark in chart.marks]
    assert sum(period.revenue for period in periods) == sum(by_day.values())
    assert (periods[0].first, periods[-1].last) == (min(by_day), max(by_day))
    assert all(
        before.last + timedelta(days=1) == after.first for before, after in pairwise(periods)
    )
    for mark in chart.marks:
        assert -1e-6 <= mark.top <= mark.top + mark.height <= 100 + 1e-6
        assert 0 <= mark.column_left <= mark.column_left + mark.column_width <= 100 + 1e-6
    assert chart.grid[0][0] == pytest.approx(100)
    assert chart.grid[-1][0] == pytest.approx(0)
    assert len(chart.grid) <= 7
    assert chart.best.revenue == max(period.revenue for period in periods)


@given(
    by_day=st.dictionaries(st.dates() | st.sampled_from(["infinity", "0044-03-15 (BC)"]), AMOUNTS),
    end=st.dates(),
)
def test_the_chart_and_its_note_have_all_revenue(
    by_day: dict[date | str, Decimal], end: date
) -> None:
    """Whatever the days are, the chart has few periods, and what it lacks is in the note."""
    shown, left_out = charts.within_reach(by_day, end)
    assert sum(shown.values()) + (left_out.revenue if left_out else 0) == sum(by_day.values())
    assert len(shown) + (left_out.days if left_out else 0) == len(by_day)
    chart = charts.revenue_chart(shown)
    assert (chart is None) == (not shown)
    assert chart is None or len(chart.marks) <= charts.MAX_POINTS + 1  # part weeks at both ends


@pytest.mark.parametrize(
    ("days", "unit", "periods", "line"),
    [
        (1, "day", 1, False),
        (45, "day", 45, False),
        (46, "day", 46, True),
        (400, "day", 400, True),
        (401, "week", 58, True),
        (2800, "week", 401, True),
        (2801, "month", 93, True),
    ],
)
def test_long_times_have_coarser_periods(days: int, unit: str, periods: int, line: bool) -> None:
    """Up to 45 periods are columns; beyond 400 days are weeks, beyond 2800 months."""
    first = date(2025, 1, 1)
    chart = charts.revenue_chart(
        {first: Decimal(1), first + timedelta(days=days - 1): Decimal("2.50")}
    )
    assert chart is not None
    assert (chart.unit, len(chart.marks), chart.line is not None) == (unit, periods, line)


def test_the_dates_name_the_first_and_the_last_period() -> None:
    """Within a year labels are days, over longer times months."""
    start, amount = date(2025, 1, 1), Decimal(1)
    month = charts.revenue_chart({start: amount, date(2025, 1, 31): amount})
    years = charts.revenue_chart({start: amount, date(2028, 3, 1): amount})
    assert month is not None
    assert years is not None
    assert [label for *_, label in month.dates] == ["1 Jan", "11 Jan", "21 Jan", "31 Jan"]
    assert [label for *_, label in years.dates] == ["Jan 2025", "Jul 2026", "Feb 2028"]


@pytest.mark.parametrize("days", range(1, 46))
def test_the_labels_of_columns_are_equally_far_apart(days: int) -> None:
    """From the first column on, every n-th is labelled, four at most, and the chart has the n."""
    first = date(2025, 1, 1)
    last = first + timedelta(days=days - 1)
    chart = charts.revenue_chart({first: Decimal(1), last: Decimal(1)})
    assert chart is not None
    step = chart.label_step
    expected = [first + timedelta(days=n) for n in range(0, days, step)]
    assert [label for *_, label in chart.dates] == [f"{day.day} {day:%b}" for day in expected]
    assert len(expected) <= 4
    assert step == 1 or 3 * (step - 1) < days - 1


def test_the_label_of_each_column_is_below_it() -> None:
    """A label is at the middle of the column of its day."""
    days = [date(2025, 1, 1) + timedelta(days=n) for n in range(5)]
    chart = charts.revenue_chart(dict.fromkeys(days, Decimal(1)))
    assert chart is not None
    assert [(place, label) for place, _, label in chart.dates] == [
        (10, "1 Jan"),
        (50, "3 Jan"),
        (90, "5 Jan"),
    ]
