"""The warehouse equals the oracle: every table, every column, every row."""

from __future__ import annotations

import pyarrow as pa
import pytest

from ecommerce_pipeline.contract import TABLES
from pipeline_verification import checks
from pipeline_verification.checks import SNAPSHOT
from pipeline_verification.compare import compare_table, report, table_names
from pipeline_verification.finished_run import FinishedRun
from pipeline_verification.oracle.history import runs_day_by_day

RAW = [
    *(f"raw.{table.name}" for table in TABLES),
    "raw.current_customer_keys",
    "raw.loaded_intervals",
]
MARTS = [
    "marts.daily_revenue_by_category",
    "marts.dim_customers",
    "marts.dim_products",
    "marts.fct_orders",
    "marts.fct_page_views",
]

Tables = dict[str, pa.Table]


@pytest.mark.parametrize("name", [*RAW, *MARTS])
def test_table_equals_the_oracle(run: FinishedRun, expected: Tables, name: str) -> None:
    """Each table holds exactly the oracle's columns, types and rows."""
    differences = compare_table(run.folder.warehouse, name, expected[name])
    assert not differences, report(differences)


def test_current_customers_equal_the_oracle(run: FinishedRun, expected: Tables) -> None:
    """The snapshot's current versions are exactly the customers that the source still holds."""
    differences = checks.current_customers(run.folder, expected[SNAPSHOT])
    assert not differences, report(differences)


def test_customers_history_equals_the_oracle(run: FinishedRun, expected: Tables) -> None:
    """Run day by day, the snapshot holds every version that the customers had."""
    if not runs_day_by_day(run.history):
        pytest.skip("which versions a run saw depends on the order, unless it is day by day")
    differences = compare_table(run.folder.warehouse, SNAPSHOT, expected[SNAPSHOT])
    assert not differences, report(differences)


def test_no_other_table(run: FinishedRun, expected: Tables) -> None:
    """The warehouse holds the tables that the oracle knows, and no more."""
    assert {*RAW, *MARTS, SNAPSHOT} == expected.keys()
    assert table_names(run.folder.warehouse) == expected.keys()
