"""The table of results in README.md: one row for each metric, one column for each tool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER, name_in_form
from ecommerce_pipeline.reporting.formatting import quantity, ratio
from website.results import Json, Results
from website.tables import markdown
from website.tools import Tool

ROWS = (
    ("a day's run", "pipeline", "daily", "seconds"),
    ("processor time of a day's run", "pipeline", "daily", "cpu_seconds"),
    ("a backfill of 14 days", "pipeline", "backfill", "seconds"),
    ("a day's run with steps that do nothing", "pipeline", "daily-noop", "seconds"),
    ("start to healthy", "footprint", "services", "start_seconds"),
    ("memory at rest", "footprint", "services", "idle_megabytes"),
    ("memory at work, peak", "footprint", "services", "peak_megabytes"),
    ("packages", "footprint", "environment", "packages"),
    ("environment on disk", "footprint", "environment", "megabytes"),
    ("lines of the pipeline", "footprint", "code", "pipeline_lines"),
)
FORMS = (NATIVE, STEP_SERVER)
COUNTED = ("lines", "packages")  # the row's title has the unit


def table(results: Results, tools: Sequence[Tool]) -> str:
    """The table as Markdown: medians; those of the pipeline's time with their ratio to the control.

    Raises:
        PipelineError: a result is missing.
    """
    scores = [
        [f"scenarios in which all data are equal, {form}", *_scores(results, name, tools)]
        for form, name in results.conformance.items()
    ]
    header = ["", *(f"[{tool.title}]({tool.folder.name}/)" for tool in tools)]
    rows = [
        *scores,
        *(_row(results, tools, row) for row in _in_forms(results)),
    ]
    return markdown(header, rows, numbers=True)


def _scores(results: Results, conformance: str, tools: Sequence[Tool]) -> list[str]:
    badges = results.get(conformance, "badges")
    return [str(badges.get(tool.name, "")) for tool in tools]


def _in_forms(results: Results) -> Iterator[tuple[str, str, str, str]]:
    """The rows of the cases that were measured, in each form; a form's name is in the title."""
    for title, benchmark, case, metric in ROWS:
        for form in FORMS:
            name = name_in_form(case, form)
            if results.has_case(benchmark, name):
                of_form = results.has_case(benchmark, name_in_form(case, STEP_SERVER))
                shown = f"{title}, {form}" if of_form else title
                yield shown, benchmark, name, metric


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
