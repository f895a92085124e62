"""A full disk: one clear line, nothing half-written, and a later attempt succeeds."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import PRODUCTS
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source import TableChanges, connect
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.storage import landing

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
LIMITED = """
import resource, sys
from pathlib import Path
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import PRODUCTS
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
folder, url, limit = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
context = StepContext(RunDirectory(Path(folder)), DataInterval.parse("2025-01-02"), url)
try:
    extract_table(context, PRODUCTS)
except PipelineError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [50_000, 100_000, 150_000])
def test_a_full_disk_leaves_nothing_half_written(
    sqlite_url: str, tmp_path: Path, limit: int
) -> None:
    """When a file may not grow, the folder is named and has the same content as before."""
    count = 30_000
    times = pa.array([NOON] * count, pa.timestamp("us", tz="UTC"))
    texts = pa.array([f"{i * 7919 % count:x}" for i in range(count)])
    ids = pa.array(range(count), pa.int64())
    columns = [ids, texts, texts, texts, ids, times, times]
    with closing(connect(sqlite_url)) as source:
        source.create_tables()
        with source.transaction():
            rows = pa.table(columns, schema=PRODUCTS.arrow_schema)
            source.apply(TableChanges("products", rows))
    run = RunDirectory(tmp_path / "run")
    command = [sys.executable, "-c", LIMITED, str(run.path), sqlite_url, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"cannot write to {run.path}/landing/products: File too large")
    assert "free space" in done.stdout
    assert [path for path in run.path.rglob("*") if path.is_file()] == []
    context = StepContext(run, DataInterval.parse("2025-01-02"), sqlite_url)
    extract_table(context, PRODUCTS)
    assert landing.verify(PRODUCTS, run.landing_file("products", context.interval)).rows == count
