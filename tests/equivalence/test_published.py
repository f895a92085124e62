"""What readers see equals what the warehouse holds."""

from __future__ import annotations

import pyarrow.parquet as pq

from proof.compare import compare, compare_table, report, table_names
from proof.run import FinishedRun

SCHEMAS = ("marts", "snapshots")


def test_database_equals_the_warehouse(run: FinishedRun) -> None:
    """The published DuckDB file holds the warehouse's marts and snapshot, and nothing else."""
    copy = run.folder.published / "warehouse.duckdb"
    differences = compare(run.folder.warehouse, copy, schemas=SCHEMAS)
    assert not differences, report(differences)
    assert table_names(copy, SCHEMAS) == table_names(copy)


def test_parquet_equals_the_warehouse(run: FinishedRun) -> None:
    """Each published Parquet file holds one table of the warehouse, exactly."""
    files = {
        f"{file.parent.name}.{file.stem}": file
        for file in run.folder.published.resolve().glob("*/*.parquet")
    }
    assert files.keys() == table_names(run.folder.warehouse, SCHEMAS)
    for name, file in files.items():
        rows = pq.read_table(file)
        differences = compare_table(run.folder.warehouse, name, rows, label=str(file))
        assert not differences, report(differences)


def test_dashboard_is_a_page(run: FinishedRun) -> None:
    """The dashboard was written whole."""
    page = run.folder.dashboard.read_text(encoding="utf-8")
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert page.rstrip().lower().endswith("</html>")
