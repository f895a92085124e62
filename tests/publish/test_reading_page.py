"""The documentation's page for readers of the published copy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage.published_versions import KEEP_HOURS
from support import small_warehouse

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pages" / "reading.md"


def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    """The program on the page reads a version, also below a folder named like a column."""
    folder = small_warehouse.publish_sample(tmp_path / "country=XX" / "total=1")
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True
    )
    expected = "[('GB', Decimal('2200.39')), (None, Decimal('34.05'))]\n"
    assert done.stdout == expected


def test_the_page_states_the_default() -> None:
    """The page gives the number of hours for which versions are kept."""
    assert f"at least {KEEP_HOURS:g} hours after it was replaced" in PAGE.read_text()


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # DuckDB uses it
def test_pandas_reads_money_as_the_page_says(tmp_path: Path) -> None:
    """From Parquet money is Decimal, below any folder; from DuckDB it is float."""
    run = RunDirectory(small_warehouse.publish_sample(tmp_path / "total=1" / "status=new"))
    orders = pd.read_parquet(run.published / "marts" / "fct_orders.parquet")
    assert [str(total) for total in orders["total"]] == ["1200.10", "34.05", "999.99", "0.30"]
    assert set(orders["status"]) == {"delivered", "shipped", "cancelled", "pending"}
    with duckdb.connect(run.published / "warehouse.duckdb", read_only=True) as connection:
        assert connection.sql("FROM marts.fct_orders").df()["total"].dtype == float
