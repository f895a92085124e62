"""The run equals another one of the same scenario: ``--against DIR``."""

from __future__ import annotations

from pipeline_verification import checks
from pipeline_verification.compare import report
from pipeline_verification.finished_run import FinishedRun


def test_same_scenario(run: FinishedRun, against: FinishedRun) -> None:
    """Two runs are comparable when they had the same data set and the same history."""
    assert (run.dataset, run.options) == (against.dataset, against.options)
    assert run.history == against.history


def test_equal_warehouses(run: FinishedRun, against: FinishedRun) -> None:
    """The two warehouses hold the same tables, value for value, with no column left out."""
    differences = checks.warehouses(run.folder, against.folder)
    assert not differences, report(differences)


def test_equal_published_copies(run: FinishedRun, against: FinishedRun) -> None:
    """The published DuckDB files of both runs hold the same tables."""
    differences = checks.published_databases(run.folder, against.folder)
    assert not differences, report(differences)
