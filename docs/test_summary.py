"""The tables of results in the READMEs are current."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import samples
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.reporting.formatting import TIMES as X
from pipeline_verification.harness.environments import ROOT
from website import summary, tool_summary
from website.readmes import ReadmeTable, readme_tables
from website.results import Results
from website.tools import Tool, tools

TEXT = "one\n<!-- a -->\nold a\n<!-- /a -->\ntwo\n<!-- b -->\nold b\n<!-- /b -->\nthree\n"


@pytest.fixture
def tool() -> Tool:
    """The first tool that is not the control."""
    return tools()[0]


def test_the_table_has_a_column_for_each_tool(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tool's column has its score and medians; a row has n, and ratios to the control."""
    monkeypatch.setattr(summary, "ROWS", [("a run", "pipeline", "small", "seconds")])
    head, _, scores, runs = summary.table(Results(results), tools()).splitlines()
    assert head == (
        "|  | [Apache Airflow](airflow_impl/) | [Dagster](dagster_impl/) | [Prefect](prefect_impl/)"
        " | [Plain Python](cron_impl/) |"
    )
    assert scores == "| scenarios in which all data are equal, native | 2/2 | 2/2 | 2/2 | 2/2 |"
    assert runs == (
        f"| a run (n = {samples.ROUNDS}) | 20 s ({X}\u202f2.00) | 30 s ({X}\u202f3.00)"
        f" | 40 s ({X}\u202f4.00)"
        f" | 10 s ({X}\u202f1.00) |"
    )


def test_a_tool_has_a_table_of_its_own(
    results: Path, monkeypatch: pytest.MonkeyPatch, tool: Tool
) -> None:
    """A row has the tool's median and range, and those with steps that do nothing if measured."""
    small = ("pipeline", "small")
    rows = [("a run", "seconds", small, small), ("its memory", "peak_megabytes", small, None)]
    monkeypatch.setattr(tool_summary, "ROWS", rows)
    monkeypatch.setattr(tool_summary, "DAILY", small)
    head, _, runs, memory = tool_summary.measured(Results(results), tool).splitlines()
    assert head == f"| median (range), n = {samples.ROUNDS} | native | steps that do nothing |"
    assert runs == "| a run | 20 s (18\u201322) | 20 s (18\u201322) |"
    assert memory == "| its memory | 400 MB (360\u2013440) |  |"


def test_methods_of_starting_dbt_are_compared(results: Path) -> None:
    """Every measured method has a row; its seconds have their ratio to the step server's."""
    methods = json.loads((results / "dbt.json").read_text())["cases"]["day"]["variants"]
    _, _, *rows = tool_summary.dbt(Results(results)).splitlines()
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == list(methods)
    assert f"{X}\u202f1.00" in rows[0]
    for row, method in zip(rows, methods.values(), strict=True):
        assert f"{X}\u202f{method['summary']['seconds']['ratio']['median']:.2f} |" in row


def test_the_faults_of_a_tool_are_those_of_its_file(results: Path, tool: Tool) -> None:
    """Each injected fault is a row; data that differ are shown as such."""
    file = results / f"faults-{tool.name}.json"
    fault = {"killed": "it", "during": "publish", "completed_by": "itself"}
    faults = [
        {**fault, "detected_seconds": 0.5, "equal": True},
        {**fault, "detected_seconds": None, "equal": False},
    ]
    file.write_text(json.dumps({"variant": tool.name, "faults": faults}))
    _, _, *rows = tool_summary.faults(Results(results), tool).splitlines()
    assert rows == [
        "| native | it | `publish` | 0.5 s | itself | equal |",
        "| native | it | `publish` | never | itself | differ |",
    ]


def test_a_table_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """The text around the table is kept, other tables included."""
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    table = ReadmeTable(readme, "b", "| new |")
    table.write()
    assert readme.read_text() == TEXT.replace("old b", "| new |")
    table.check_current()


def test_a_table_that_is_out_of_date_is_an_error(tmp_path: Path) -> None:
    """A README whose table is out of date fails with the command that fixes it."""
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    with pytest.raises(PipelineError, match=r"'b' of .*README\.md is not that .* docs -- readme"):
        ReadmeTable(readme, "b", "| new |").check_current()
    with pytest.raises(PipelineError, match="no place for the table 'c'; add <!-- c -->"):
        ReadmeTable(readme, "c", "| new |").write()


def test_every_readme_has_its_current_tables() -> None:
    """The README of this checkout and of every tool show the committed results."""
    found = list(readme_tables(Results(ROOT / "benchmarks" / "results"), tools()))
    wanted = {(tool.readme, "measured") for tool in tools()} | {(ROOT / "README.md", "results")}
    assert wanted <= {(table.readme, table.name) for table in found}
    for table in found:
        table.check_current()
