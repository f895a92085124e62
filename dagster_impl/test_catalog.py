"""What Dagster's catalog shows of tables and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalog
from conftest import FIRST_DAY, FirstRun
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import CUSTOMERS
from ecommerce_pipeline.interval import DataInterval

BLOCK_BYTES = 262144  # of a DuckDB file


def described(first_run: FirstRun) -> dict[str, dict[str, Any]]:
    """The metadata of each materialization by the asset's name."""
    events = first_run.result.get_asset_materialization_events()
    made = [event.step_materialization_data.materialization for event in events]
    return {
        each.asset_key.to_user_string(): {k: v.value for k, v in each.metadata.items()}
        for each in made
    }


def test_every_asset_is_recorded(first_run: FirstRun) -> None:
    """A day's run records each table and file that the graph has."""
    graph = first_run.form.definitions.resolve_asset_graph()
    expected = {key.to_user_string() for key in graph.materializable_asset_keys}
    assert set(described(first_run)) == expected


def test_a_materialization_describes_the_table(first_run: FirstRun) -> None:
    """Rows, columns with their types and, for each column, its origins are on it."""
    customers = described(first_run)["marts/dim_customers"]
    with duckdb.connect(first_run.run.warehouse, read_only=True) as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM marts.dim_customers").fetchall()
    assert customers["dagster/row_count"] == rows > 0
    types = {column.name: column.type for column in customers["dagster/column_schema"].columns}
    assert types["lifetime_value"] == "DECIMAL(18,2)"
    lineage = customers["dagster/column_lineage"].deps_by_column["first_order_at"]
    fct_orders = dg.AssetKey(["marts", "fct_orders"])
    assert lineage == [dg.TableColumnDep(asset_key=fct_orders, column_name="ordered_at")]


def test_origins_are_found_through_an_ephemeral_model(first_run: FirstRun) -> None:
    """A column computed in a model that is no table comes from the tables below it."""
    revenue = described(first_run)["marts/daily_revenue_by_category"]
    origins = revenue["dagster/column_lineage"].deps_by_column["category"]
    stg_products = dg.AssetKey(["staging", "stg_products"])
    assert dg.TableColumnDep(asset_key=stg_products, column_name="category") in origins


def test_a_raw_table_is_described_without_personal_data(first_run: FirstRun) -> None:
    """Stored bytes and a preview are on it; the preview has no name and no e-mail address."""
    customers = described(first_run)["raw/customers"]
    assert customers["bytes"] in (BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert "country" in customers["preview"]
    assert "email" not in customers["preview"]


@pytest.mark.parametrize("name", ["country=DE", "run*"])
def test_a_landing_file_is_described_as_it_is(tmp_path: Path, name: str) -> None:
    """A folder that DuckDB could take for a partition or a pattern does not change the metadata."""
    schema = pa.schema([("id", pa.int64()), ("country", pa.string())])
    interval = DataInterval.parse(FIRST_DAY)
    contexts = {}
    for folder, country in (("run-2", "PT"), (name, "GB")):
        environment = {"PIPELINE_RUN_DIR": str(tmp_path / folder)}
        context = contexts[folder] = StepContext.from_environment(interval, environment)
        file = context.run.landing_file(CUSTOMERS.name, interval)
        file.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([{"id": 1, "country": country}], schema), file)
    metadata: Any = catalog.landed(contexts[name], CUSTOMERS).metadata
    assert metadata["dagster/row_count"] == 1
    assert "GB" in metadata["preview"].md_str
