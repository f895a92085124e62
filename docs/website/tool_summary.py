"""The tables of a tool's own README: a day's cost, the ways to start dbt, how faults ended."""

from __future__ import annotations

from collections.abc import Iterator

from website.numbers import noticed, ratio, spread
from website.results import Results
from website.tables import markdown
from website.tools import Tool

WHOLE, NOTHING = ("pipeline", "daily"), ("pipeline", "daily-noop")
SERVICES, CODE = ("footprint", "services"), ("footprint", "code")
Column = tuple[str, str]
ROWS: tuple[tuple[str, str, Column, Column | None], ...] = (
    ("a day's run", "seconds", WHOLE, NOTHING),
    ("… of it waiting", "waiting", WHOLE, NOTHING),
    ("… of it starting", "starting", WHOLE, NOTHING),
    ("… of it running", "running", WHOLE, None),
    ("its processor time", "cpu_seconds", WHOLE, NOTHING),
    ("its seconds over those of the control and the floor together", "goal", WHOLE, None),
    ("importing `pipeline.py`", "import_seconds", CODE, None),
    ("start to healthy", "start_seconds", SERVICES, None),
    ("processor time at rest", "idle_cpu_seconds", SERVICES, None),
    ("memory at rest", "idle_megabytes", SERVICES, None),
    ("memory at work, peak", "peak_megabytes", SERVICES, None),
)
"""What is asked, by which metric, and where it was measured with and without the steps' work."""
DBT_COLUMNS = (
    ("a day's five steps", "day", "seconds"),
    ("processor time", "day", "cpu_seconds"),
    ("dbt of a killed task worked on for", "killed", "outlived_seconds"),
)


def measured(results: Results, tool: Tool) -> str:
    """A day's run, whole and with steps that do nothing, and what the services take.

    Raises:
        PipelineError: a result is missing.
    """
    header = (
        f"median (range), n = {_least_n(results, tool)}",
        "the pipeline",
        "steps that do nothing",
    )
    rows = (
        (title, *(_cell(results, tool, place, metric) for place in (whole, nothing)))
        for title, metric, whole, nothing in ROWS
    )
    return markdown(header, rows, numbers=True)


def dbt(results: Results) -> str:
    """A day's dbt steps and a killed task's dbt, by how dbt is started; with ratios to our way.

    Raises:
        PipelineError: a result is missing.
    """
    ways = results.look("dbt", "cases", "day", "variants")
    header = ("dbt by way of", *(title for title, _, _ in DBT_COLUMNS))
    rows = (
        (way, *(_number(results, "dbt", case, metric, way) for _, case, metric in DBT_COLUMNS))
        for way in ways
    )
    return markdown(header, rows, numbers=True)


def faults(results: Results, tool: Tool) -> str:
    """What was killed, when the tool noticed, who completed the run, and with which data.

    Raises:
        PipelineError: a result is missing.
    """
    header = ("SIGKILL of", "during", "noticed after", "completed by", "data")
    return markdown(header, _faults(results, tool))


def _faults(results: Results, tool: Tool) -> Iterator[tuple[str, ...]]:
    for fault in results.look(f"faults-{tool.name}", "faults"):
        after, equal = noticed(fault["detected_seconds"]), "equal" if fault["equal"] else "differ"
        yield fault["killed"], f"`{fault['during']}`", after, fault["completed_by"], equal


def _cell(results: Results, tool: Tool, place: Column | None, metric: str) -> str:
    if place is None:
        return ""
    return _number(results, *place, metric, tool.name)


def _number(results: Results, verb: str, case: str, metric: str, name: str) -> str:
    found = results.measured(verb, case, metric, name).summary
    if found is None:
        return "no number"
    shown = spread(found, results.look(verb, "cases", case, "metrics", metric, "unit"))
    return shown if results.is_of_variants(verb) else f"{shown} {ratio(found)}".rstrip()


def _least_n(results: Results, tool: Tool) -> int:
    """How often each number was measured, at least.

    Raises:
        PipelineError: a result is missing.
    """
    found = [
        results.measured(verb, case, metric, tool.name).summary
        for _, metric, *columns in ROWS
        for verb, case in filter(None, columns)
    ]
    return min((summary["n"] for summary in found if summary), default=0)
