"""Filling the page's template."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import ORDER_STATUSES
from ecommerce_pipeline.reporting import formatting
from ecommerce_pipeline.reporting.dashboard import charts
from ecommerce_pipeline.reporting.dashboard.queries import DashboardData
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.journal import JournalEntry

MAX_CATEGORIES = 8


def render(context: StepContext, data: DashboardData, steps: Sequence[JournalEntry]) -> str:
    """The whole page; every text from the data is escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        text=formatting.text,
        money=formatting.money,
        day=formatting.day,
        time=formatting.time,
        duration=formatting.duration,
    )
    by_day, left_out = charts.within_reach(
        data.revenue_by_day, data.manifest.newest_interval.end.date()
    )
    return environment.get_template("page.html.jinja").render(
        interval=formatting.interval(context.interval),
        newest_interval=formatting.interval(data.manifest.newest_interval),
        data=data,
        totals=data.totals,
        revenue=charts.revenue_chart(by_day),
        left_out=left_out,
        categories=_categories(data),
        statuses=_statuses(data),
        freshness=_freshness(context, data),
        steps=_steps(steps),
        elapsed=journal.elapsed_seconds(steps),
        warnings=journal.warnings(steps),
    )


def _categories(data: DashboardData) -> list[dict[str, object]]:
    """The largest categories with bars relative to the largest, then the others in one row."""
    shown = data.revenue_by_category[:MAX_CATEGORIES]
    others = data.revenue_by_category[MAX_CATEGORIES:]
    largest = max((abs(revenue) for _, revenue in shown), default=Decimal(0))
    rows = [(name, revenue, charts.share(revenue, largest)) for name, revenue in shown]
    if others:
        total = sum((revenue for _, revenue in others), Decimal(0))
        rows.append((f"{len(others)} more", total, 0.0))
    whole = data.totals.revenue
    # With returns above sales in a category, shares would exceed 100 % and say nothing.
    shares = whole > 0 and all(revenue >= 0 for _, revenue in data.revenue_by_category)
    return [
        {
            "name": name,
            "revenue": revenue,
            "bar": width,
            "share": f"{revenue / whole:.1%}" if shares else "",
        }
        for name, revenue, width in rows
    ]


def _statuses(data: DashboardData) -> list[dict[str, object]]:
    """Each status with its segment of the bar; ``shade`` numbers its colour."""
    segments = []
    left = 0.0
    for status, orders in data.orders_by_status:
        width = charts.share(orders, data.totals.orders)
        shade = ORDER_STATUSES.index(status) if status in ORDER_STATUSES else len(ORDER_STATUSES)
        segments.append(
            {"name": status, "orders": orders, "left": left, "width": width, "shade": shade}
        )
        left += width
    return segments


def _freshness(context: StepContext, data: DashboardData) -> dict[str, object] | None:
    """How old the newest row was at the newest interval's end; logical time, not today."""
    if data.newest_update is None:
        return None
    end = data.manifest.newest_interval.end
    age = max(end - data.newest_update, timedelta(0))
    return {
        "newest": data.newest_update,
        "end": end,
        "age": age,
        "fresh": age <= context.max_staleness,
        "allowed": context.max_staleness,
    }


def _steps(steps: Sequence[JournalEntry]) -> list[dict[str, object]]:
    """Each step with its stretch of the run's time, never too short to be seen."""
    elapsed = journal.elapsed_seconds(steps) or 1.0
    rows: list[dict[str, object]] = []
    for step in steps:
        width = max(step.seconds / elapsed * 100, 1.0)
        left = (step.started_at - steps[0].started_at).total_seconds() / elapsed * 100
        rows.append(
            {
                "name": step.step,
                "seconds": step.seconds,
                "left": min(left, 100 - width),
                "width": width,
            }
        )
    return rows
