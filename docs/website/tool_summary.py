"""The tables of results in a tool's README: a day's cost, how dbt is started, injected faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ecommerce_pipeline.harness.variant import name_in_form
from ecommerce_pipeline.reporting.formatting import ratio, seconds_or_never, spread
from pipeline_verification.harness.environments import form_names, has_form
from website.results import Results
from website.tables import markdown
from website.tools import Tool

DAILY, SERVICES, CODE = ("pipeline", "daily"), ("footprint", "services"), ("footprint", "code")
NO_OP = ("pipeline", "daily-noop")
Column = tuple[str, str]
ROWS: tuple[tuple[str, str, Column, Column | None], ...] = (
    ("a day's run", "seconds", DAILY, NO_OP),
    ("… of it waiting", "waiting", DAILY, NO_OP),
    ("… of it starting", "starting", DAILY, NO_OP),
    ("… of it running", "running", DAILY, None),
    ("its processor time", "cpu_seconds", DAILY, NO_OP),
    ("its seconds / (seconds of the control + steps that do nothing)", "goal", DAILY, None),
    ("importing the pipeline", "import_seconds", CODE, None),
    ("start to healthy", "start_seconds", SERVICES, None),
    ("processor time at rest", "idle_cpu_seconds", SERVICES, None),
    ("memory at rest", "idle_megabytes", SERVICES, None),
    ("memory at work, peak", "peak_megabytes", SERVICES, None),
)
"""Per row: title, metric, the benchmark and case with the steps' work, in any form, and without."""
DBT_COLUMNS = (
    ("a day's five steps", "day", "seconds"),
    ("processor time", "day", "cpu_seconds"),
    ("dbt of a killed task worked on for", "killed", "outlived_seconds"),
)


def measured(results: Results, tool: Tool) -> str:
    """A day's run in each form and with steps that do nothing, and what the services take.

    Raises:
        PipelineError: a result is missing.
    """
    forms = _forms(results, tool)
    header = (f"median (range), n = {_min_n(results, tool)}", *forms, "steps that do nothing")
    rows = (
        (title, *(_cell(results, tool, column, metric) for column in _columns(row, forms)))
        for row in ROWS
        for title, metric, *_ in [row]
    )
    return markdown(header, rows, numbers=True)


def _forms(results: Results, tool: Tool) -> list[str]:
    """The forms of the tool's pipeline of which a day was measured."""
    benchmark, case = DAILY
    measured = [f for f in form_names() if results.has_case(benchmark, name_in_form(case, f))]
    return [form for form in measured if has_form(tool.name, form)]


def _columns(
    row: tuple[str, str, Column, Column | None], forms: Sequence[str]
) -> list[Column | None]:
    _, _, (benchmark, case), no_op = row
    return [*((benchmark, name_in_form(case, form)) for form in forms), no_op]


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
    header = ("form", "SIGKILL of", "during", "noticed after", "completed by", "data")
    return markdown(header, _faults(results, tool))


def _faults(results: Results, tool: Tool) -> Iterator[tuple[str, ...]]:
    for form, faults in results.faults(tool.name).items():
        for fault in faults:
            noticed = seconds_or_never(fault["detected_seconds"])
            data = "equal" if fault["equal"] else "differ"
            yield (
                form,
                fault["killed"],
                f"`{fault['during']}`",
                noticed,
                fault["completed_by"],
                data,
            )


def _cell(results: Results, tool: Tool, column: Column | None, metric: str) -> str:
    if column is None or not results.has_case(*column):
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
        results.measured(*column, row[1], tool.name).summary
        for row in ROWS
        for column in _columns(row, _forms(results, tool))
        if column and results.has_case(*column)
    ]
    return min((summary["n"] for summary in found if summary), default=0)
