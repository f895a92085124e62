"""The table of results in README.md: one row for each metric, one column for each tool."""

from __future__ import annotations

from collections.abc import Sequence

from ecommerce_pipeline.reporting.formatting import quantity, ratio
from website.results import CONFORMANCE, Json, Results
from website.tables import markdown
from website.tools import Tool

ROWS = (
    ("a day's run", "pipeline", "daily", "seconds"),
    ("… with steps that do nothing", "pipeline", "daily", "floor_seconds"),
    ("processor time of a day's run", "pipeline", "daily", "cpu_seconds"),
    ("a backfill of 14 days", "pipeline", "backfill", "seconds"),
    ("start to healthy", "footprint", "services", "start_seconds"),
    ("memory at rest", "footprint", "services", "idle_megabytes"),
    ("memory at work, peak", "footprint", "services", "peak_megabytes"),
    ("packages", "footprint", "environment", "packages"),
    ("environment on disk", "footprint", "environment", "megabytes"),
    ("lines of `pipeline.py`", "footprint", "code", "pipeline_lines"),
)
COUNTED = ("lines", "packages")  # the row's title has the unit


def table(results: Results, tools: Sequence[Tool]) -> str:
    """The table as Markdown: medians; those of the pipeline's time with their ratio to the control.

    Raises:
        PipelineError: a result is missing.
    """
    scores = [str(results.get(CONFORMANCE, "badges", tool.name)) for tool in tools]
    header = ["", *(f"[{tool.title}]({tool.folder.name}/)" for tool in tools)]
    rows = [
        ["scenarios in which all data are equal", *scores],
        *(_row(results, tools, row) for row in ROWS),
    ]
    return markdown(header, rows, numbers=True)


def _row(results: Results, tools: Sequence[Tool], row: tuple[str, str, str, str]) -> list[str]:
    """A row: its title with the number of samples, and each tool's median."""
    title, benchmark, case, metric = row
    unit = results.get(benchmark, "cases", case, "metrics", metric, "unit")
    measured = [results.measured(benchmark, case, metric, tool.name).summary for tool in tools]
    rounds = min((summary["n"] for summary in measured if summary), default=0)
    with_ratio = benchmark == "pipeline" and metric in ("seconds", "cpu_seconds")
    shown = "" if unit in COUNTED else unit
    answers = [_cell(each, shown, with_ratio) if each else "no number" for each in measured]
    return [f"{title} (n = {rounds})", *answers]


def _cell(summary: Json, unit: str, with_ratio: bool) -> str:
    shown = quantity(summary["median"], unit)
    return f"{shown} ({ratio(summary)})" if with_ratio and ratio(summary) else shown
