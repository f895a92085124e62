"""The geometry of the charts. Positions are percentages; money becomes float only here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from itertools import groupby
from math import ceil

from ecommerce_pipeline.reporting import formatting
from ecommerce_pipeline.reporting.dashboard.queries import Day

MAX_COLUMNS = 45
MAX_POINTS = 400
MAX_YEARS = 30  # by month not more than MAX_POINTS
MAX_LABELS = 4  # on a phone; of months, which are longer, one less
WIDEST_COLUMN = 8.0
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Period:
    """The revenue from the ``first`` to the ``last`` day, both included."""

    first: date
    last: date
    revenue: Decimal

    @property
    def label(self) -> str:
        """The day, or the first and the last one."""
        first, last = formatting.day(self.first), formatting.day(self.last)
        return first if first == last else f"{first} to {last}"


@dataclass(frozen=True, slots=True)
class Mark:
    """One period's place in percent of the chart: its band of the width, and its column."""

    period: Period
    left: float
    width: float
    column_left: float
    column_width: float
    top: float
    height: float


@dataclass(frozen=True, slots=True)
class RevenueChart:
    """Revenue over time.

    Attributes:
        unit: ``day``, ``week`` or ``month``.
        marks: one for each period.
        zero: the height of zero.
        grid: heights and labels of the grid lines.
        dates: places, anchors and labels along the bottom.
        label_step: every how many columns there is a label; 1 where a line is drawn.
        line: the SVG path through the periods in a 100 by 100 box; None where columns are drawn.
        best: the period of the highest revenue.
    """

    unit: str
    marks: Sequence[Mark]
    zero: float
    grid: Sequence[tuple[float, str]]
    dates: Sequence[tuple[float, str, str]]
    label_step: int
    line: str | None
    best: Period

    @property
    def area(self) -> str:
        """The line's path closed along zero."""
        first, last = _centre(self.marks[0]), _centre(self.marks[-1])
        return f"{self.line} L{last:.2f} {self.zero:.2f} L{first:.2f} {self.zero:.2f} Z"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The days that are too far from the others for the chart.

    Attributes:
        days: how many there are.
        revenue: their sum.
        example: the first of them.
        before: the first day that the chart can have.
        after: the last day that it can have.
    """

    days: int
    revenue: Decimal
    example: Day
    before: date
    after: date


def within_reach(
    by_day: Mapping[Day, Decimal], end: date
) -> tuple[Mapping[date, Decimal], LeftOut | None]:
    """The days that the chart can show, and what it leaves out.

    One order with a mistyped year would make the other days too narrow to see, and its chart would
    have a period for each month until then.

    Args:
        by_day: revenue by day.
        end: the end of the newest interval; the chart reaches a year beyond it at most.
    """
    after = date.fromordinal(min(end.toordinal() + 366, date.max.toordinal()))
    usable = [day for day in by_day if isinstance(day, date) and day <= after]
    before = date(max(max(usable, default=after).year - MAX_YEARS, date.min.year), 1, 1)
    shown = {day: by_day[day] for day in usable if day >= before}
    others = [day for day in by_day if day not in shown]
    if not others:
        return shown, None
    revenue = sum((by_day[day] for day in others), ZERO)
    return shown, LeftOut(len(others), revenue, others[0], before, after)


def revenue_chart(by_day: Mapping[date, Decimal]) -> RevenueChart | None:
    """Lay out revenue over time by day, week or month; None where there is none."""
    if not by_day:
        return None
    unit, periods = _periods(by_day)
    ticks = _ticks([period.revenue for period in periods])
    low, high = ticks[0], ticks[-1]

    # As in SVG, heights count downwards from the top.
    def height(amount: Decimal) -> float:
        return float((high - amount) / (high - low)) * 100

    marks = _marks(periods, height)
    columns = len(periods) <= MAX_COLUMNS
    label_step = ceil((len(periods) - 1) / (MAX_LABELS - 1)) or 1 if columns else 1
    line = " L".join(f"{_centre(mark):.2f} {height(mark.period.revenue):.2f}" for mark in marks)
    return RevenueChart(
        unit=unit,
        marks=marks,
        zero=height(ZERO),
        grid=[(height(tick), formatting.short_money(tick)) for tick in ticks],
        dates=_labels(marks[::label_step]) if columns else _spread_labels(marks),
        label_step=label_step,
        line=None if columns else f"M{line}",
        best=max(periods, key=lambda period: period.revenue),
    )


def share(part: Decimal | int, whole: Decimal | int) -> float:
    """The part in percent of the whole, between 0 and 100."""
    return min(abs(float(part / whole)), 1.0) * 100 if whole else 0.0


def _marks(periods: Sequence[Period], height: Callable[[Decimal], float]) -> list[Mark]:
    band = 100 / len(periods)
    column = min(band * 0.72, WIDEST_COLUMN)
    return [
        Mark(
            period=period,
            left=place * band,
            width=band,
            column_left=(place + 0.5) * band - column / 2,
            column_width=column,
            top=height(max(period.revenue, ZERO)),
            height=abs(height(period.revenue) - height(ZERO)),
        )
        for place, period in enumerate(periods)
    ]


def _centre(mark: Mark) -> float:
    return mark.left + mark.width / 2


def _periods(by_day: Mapping[date, Decimal]) -> tuple[str, list[Period]]:
    """Divide the time from the first day to the last into days, weeks or months, by its length."""
    first, last = min(by_day), max(by_day)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    units = ("day", _same), ("week", _monday), ("month", _first_of_month)
    # 0, 1 or 2: by day up to MAX_POINTS days, by week up to as many weeks, else by month.
    unit, start_of = units[(len(days) > MAX_POINTS) + (len(days) > 7 * MAX_POINTS)]
    periods = [list(group) for _, group in groupby(days, start_of)]
    return unit, [
        Period(part[0], part[-1], sum((by_day.get(day, ZERO) for day in part), ZERO))
        for part in periods
    ]


def _same(day: date) -> date:
    return day


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _first_of_month(day: date) -> date:
    return day.replace(day=1)


def _ticks(amounts: Sequence[Decimal], about: int = 4) -> list[Decimal]:
    """Round amounts from at most the lowest (or zero) to at least the highest (or zero)."""
    low, high = min(ZERO, *amounts), max(ZERO, *amounts)
    # The step is 1, 2 or 5 times a power of ten, the next one above an even division.
    rough = (high - low) / about or Decimal(1)
    size = Decimal(10) ** rough.adjusted()
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    # Outwards, so that no column leaves the grid.
    start = int((low / step).to_integral_value(ROUND_FLOOR))
    stop = int((high / step).to_integral_value(ROUND_CEILING))
    return [step * place for place in range(start, max(stop, start + 1) + 1)]


def _spread_labels(marks: Sequence[Mark]) -> list[tuple[float, str, str]]:
    """Labels of the first and the last point and of some between, as evenly as there are points."""
    gaps = (MAX_LABELS if _within_a_year(marks) else MAX_LABELS - 1) - 1
    places = [round(n * (len(marks) - 1) / gaps) for n in range(gaps + 1)]
    return _labels([marks[n] for n in places], within_a_year=_within_a_year(marks))


def _labels(marks: Sequence[Mark], *, within_a_year: bool = True) -> list[tuple[float, str, str]]:
    """A label below the middle of each mark; at an edge it is anchored to it."""
    write = formatting.day_and_month if within_a_year else formatting.month
    return [(_centre(mark), _anchor(_centre(mark)), write(mark.period.first)) for mark in marks]


def _within_a_year(marks: Sequence[Mark]) -> bool:
    return (marks[-1].period.last - marks[0].period.first).days < 366


def _anchor(place: float) -> str:
    return "start" if place < 6 else "end" if place > 94 else "middle"
