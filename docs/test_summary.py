"""README.md has the results' table, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

import samples
from ecommerce_pipeline.errors import PipelineError
from website import summary
from website.numbers import TIMES as X
from website.results import Results
from website.tools import tools

PLACE = f"before\n{summary.BEGIN}\nold\n{summary.END}\nafter\n"


@pytest.fixture(autouse=True)
def _one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up results have a case of their own."""
    monkeypatch.setattr(summary, "ROWS", [("a run", "pipeline", "small", "seconds")])


def test_the_table_has_a_column_for_each_tool(results: Path) -> None:
    """Scores and medians stand below each tool; these with n and their ratio to the control."""
    head, _, scores, runs = summary.table(Results(results), tools()).splitlines()
    assert head == (
        "|  | [Apache Airflow](airflow_impl/) | [Dagster](dagster_impl/) | [Prefect](prefect_impl/)"
        " | [Plain Python](cron_impl/) |"
    )
    assert scores == "| scenarios in which all data are equal | 2/2 | 2/2 | 2/2 | 2/2 |"
    assert runs == (
        f"| a run (n = {samples.ROUNDS}) | 20 s ({X}\u202f2.00) | 30 s ({X}\u202f3.00)"
        f" | 40 s ({X}\u202f4.00)"
        f" | 10 s ({X}\u202f1.00) |"
    )


def test_the_table_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """What stands around the table's place is kept."""
    readme = tmp_path / "README.md"
    readme.write_text(PLACE)
    summary.put(readme, "| new |")
    assert readme.read_text() == PLACE.replace("old", "| new |")
    summary.must_show(readme, "| new |")


def test_another_table_is_refused(tmp_path: Path) -> None:
    """A README whose table is out of date fails with the command that mends it."""
    readme = tmp_path / "README.md"
    readme.write_text(PLACE)
    with pytest.raises(PipelineError, match=r"README\.md is not that of the results; .* readme"):
        summary.must_show(readme, "| new |")
    readme.write_text("no place")
    with pytest.raises(PipelineError, match="has no place for the table"):
        summary.put(readme, "| new |")
