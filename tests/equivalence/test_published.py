"""What readers see equals what the warehouse holds."""

from __future__ import annotations

from pipeline_verification import checks
from pipeline_verification.compare import report
from pipeline_verification.finished_run import FinishedRun


def test_database_equals_the_warehouse(run: FinishedRun) -> None:
    """The published DuckDB file holds the warehouse's marts and snapshot, and nothing else."""
    differences = checks.published_database(run.folder)
    assert not differences, report(differences)


def test_parquet_equals_the_warehouse(run: FinishedRun) -> None:
    """Each published Parquet file holds one table of the warehouse, exactly."""
    differences = checks.published_parquet(run.folder)
    assert not differences, report(differences)


def test_dashboard_is_a_page(run: FinishedRun) -> None:
    """The dashboard was written whole."""
    assert checks.whole_dashboard(run.folder) == []
