"""The tables of results in a tool's README: a day's cost, how dbt is started, injected faults."""

from __future__ import annotations

from collections.abc import Iterator

from ecommerce_pipeline.reporting.formatting import ratio, seconds_or_never, spread
from website.results import Results
from website.tables import markdown
from website.tools import Tool

WHOLE, NO_OP = ("pipeline", "daily"), ("pipeline", "daily-noop")
SERVICES, CODE = ("footprint", "services"), ("footprint", "code")
Column = tuple[str, str]
ROWS: tuple[tuple[str, str, Column, Column | None], ...] = (
    ("a day's run", "seconds", WHOLE, NO_OP),
    ("… of it waiting", "waiting", WHOLE, NO_OP),
    ("… of it starting", "starting", WHOLE, NO_OP),
    ("… of it running", "running", WHOLE, None),
    ("its processor time", "cpu_seconds", WHOLE, NO_OP),
    ("its seconds / (seconds of the control + steps that do nothing)", "goal", WHOLE, None),
    ("importing `pipeline.py`", "import_seconds", CODE, None),
    ("start to healthy", "start_seconds", SERVICES, None),
    ("processor time at rest", "idle_cpu_seconds", SERVICES, None),
    ("memory at rest", "idle_megabytes", SERVICES, None),
    ("memory at work, peak", "peak_megabytes", SERVICES, None),
)
"""Per row: title, metric, and the benchmark and case with and without the steps' work."""
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
        f"median (range), n = {_min_n(results, tool)}",
        "the pipeline",
        "steps that do nothing",
    )
    rows = (
        (title, *(_cell(results, tool, column, metric) for column in (whole, no_op)))
        for title, metric, whole, no_op in ROWS
    )
    return markdown(header, rows, numbers=True)


def dbt(results: Results) -> str:
    """A day's dbt steps and a killed task's dbt, for each method of starting dbt.

    Ratios are to the first method, the step server.

    Raises:
        PipelineError: a result is missing.
    """
    methods = results.get("dbt", "cases", "day", "variants")
    header = ("dbt is started by", *(title for title, _, _ in DBT_COLUMNS))
    rows = (
        (name, *(_number(results, "dbt", case, metric, name) for _, case, metric in DBT_COLUMNS))
        for name in methods
    )
    return markdown(header, rows, numbers=True)


def faults(results: Results, tool: Tool) -> str:
    """Per injected fault: what was killed, when the tool noticed, who completed the run, the data.

    Raises:
        PipelineError: a result is missing.
    """
    header = ("SIGKILL of", "during", "noticed after", "completed by", "data")
    return markdown(header, _faults(results, tool))


def _faults(results: Results, tool: Tool) -> Iterator[tuple[str, ...]]:
    for fault in results.get(f"faults-{tool.name}", "faults"):
        noticed = seconds_or_never(fault["detected_seconds"])
        data = "equal" if fault["equal"] else "differ"
        yield fault["killed"], f"`{fault['during']}`", noticed, fault["completed_by"], data


def _cell(results: Results, tool: Tool, column: Column | None, metric: str) -> str:
    if column is None:
        return ""
    return _number(results, *column, metric, tool.name)


def _number(results: Results, benchmark: str, case: str, metric: str, name: str) -> str:
    found = results.measured(benchmark, case, metric, name).summary
    if found is None:
        return "no number"
    shown = spread(found, results.get(benchmark, "cases", case, "metrics", metric, "unit"))
    return shown if results.is_of_variants(benchmark) else f"{shown} {ratio(found)}".rstrip()


def _min_n(results: Results, tool: Tool) -> int:
    """The minimum number of samples of any number in the table.

    Raises:
        PipelineError: a result is missing.
    """
    found = [
        results.measured(benchmark, case, metric, tool.name).summary
        for _, metric, *columns in ROWS
        for benchmark, case in filter(None, columns)
    ]
    return min((summary["n"] for summary in found if summary), default=0)
