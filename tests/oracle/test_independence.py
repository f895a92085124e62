"""The oracle computes by itself."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
import pipeline_verification.oracle
print(*sorted(name for name in sys.modules if name.split(".")[0] in {"dbt", "duckdb"}))
print(*sorted(name for name in sys.modules if name.startswith("ecommerce_pipeline.")))
"""
ALLOWED = {"contract", "datasets", "errors", "interval", "source"}


def test_oracle_shares_no_code_with_the_steps() -> None:
    """The oracle loads neither dbt nor DuckDB, and of the pipeline only data set and contract."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    )
    engines, modules = done.stdout.splitlines()
    assert engines == ""
    assert {name.split(".")[1] for name in modules.split()} <= ALLOWED
