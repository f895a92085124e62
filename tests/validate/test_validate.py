"""Reconciliation: every number that disagrees stops the run and is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.validate import MART_RECONCILIATIONS, validate_output
from ecommerce_pipeline.storage.landing import sidecar_file
from pipeline_verification.harness.control import fill_source, interval_of, run_control

DAY = "2025-01-01"

TAMPERINGS = {
    "rows of fct_orders": "DELETE FROM marts.fct_orders WHERE order_id ="
    " (SELECT min(order_id) FROM marts.fct_orders)",
    "subtotal of fct_orders in cents": "UPDATE marts.fct_orders SET subtotal = subtotal + 0.01"
    " WHERE order_id = (SELECT min(order_id) FROM marts.fct_orders)",
    "tax of fct_orders in cents": "UPDATE marts.fct_orders SET tax = tax + 0.01"
    " WHERE order_id = (SELECT min(order_id) FROM marts.fct_orders)",
    "total of fct_orders in cents": "UPDATE marts.fct_orders SET total = total + 0.01"
    " WHERE order_id = (SELECT min(order_id) FROM marts.fct_orders)",
    "item_count of fct_orders": "UPDATE marts.fct_orders SET item_count = item_count + 1"
    " WHERE order_id = (SELECT min(order_id) FROM marts.fct_orders)",
    "units of daily_revenue_by_category": "UPDATE marts.daily_revenue_by_category"
    " SET units = units + 1 WHERE category = 'unknown'",
    "rows of fct_page_views": "DELETE FROM marts.fct_page_views WHERE page_view_id ="
    " (SELECT min(page_view_id) FROM marts.fct_page_views)",
    "duration of fct_page_views in seconds": "UPDATE marts.fct_page_views"
    " SET duration_seconds = duration_seconds + 1",
    "rows of dim_customers": "DELETE FROM marts.dim_customers WHERE customer_id ="
    " (SELECT min(customer_id) FROM marts.dim_customers WHERE lifetime_value = 0)",
    "lifetime_value of dim_customers in cents": "UPDATE marts.dim_customers"
    " SET lifetime_value = lifetime_value - 0.01",
    "rows of dim_products": "DELETE FROM marts.dim_products WHERE product_id ="
    " (SELECT min(product_id) FROM marts.dim_products)",
    "price of dim_products in cents": "UPDATE marts.dim_products SET price = price + 0.01",
    "revenue in cents of 'unknown'": "UPDATE marts.daily_revenue_by_category"
    " SET revenue = revenue + 0.01 WHERE category = 'unknown'",
    "orders of 'unknown'": "UPDATE marts.daily_revenue_by_category"
    " SET order_count = order_count + 1 WHERE category = 'unknown'",
    "units of '": "UPDATE marts.daily_revenue_by_category"
    " SET units = units + CASE category WHEN 'unknown' THEN 1 ELSE -1 END WHERE category IN"
    " ('unknown', (SELECT min(category) FROM marts.daily_revenue_by_category))",
    "revenue in cents of 'sold nowhere'": "INSERT INTO marts.daily_revenue_by_category"
    " VALUES (DATE '2025-01-01', 'sold nowhere', 1, 1, 0)",
    "number of page views whose key fct_page_views lacks": "UPDATE marts.fct_page_views"
    " SET page_url = page_url || '?' WHERE page_view_id ="
    " (SELECT min(page_view_id) FROM marts.fct_page_views)",
    "landed rows of orders missing from raw": "UPDATE raw.orders SET user_id = user_id - 1",
    "landed rows of customers missing from raw": "UPDATE raw.customers"
    " SET updated_at = updated_at - INTERVAL 1 DAY",
}


@pytest.fixture(scope="module")
def one_day(
    tmp_path_factory: pytest.TempPathFactory, step_server_environment: dict[str, str]
) -> RunDirectory:
    run = RunDirectory(tmp_path_factory.mktemp("one-day"))
    fill_source(f"sqlite:///{run.source_file}", load_dataset("synthetic"), DAY)
    done = run_control(run.path, DAY, environment=step_server_environment)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def context(one_day: RunDirectory, tmp_path: Path) -> StepContext:
    folder = tmp_path / "run"
    shutil.copytree(one_day.path, folder, symlinks=True)
    return StepContext(run=RunDirectory(folder), interval=interval_of(DAY), source_url="unused")


def test_what_a_run_left_agrees(context: StepContext) -> None:
    """An untouched run reconciles, and the landed rows are counted."""
    assert validate_output(context).rows == {
        "customers": 306,
        "products": 82,
        "orders": 440,
        "order_items": 1082,
        "page_views": 552,
    }


def test_a_folder_that_looks_like_a_partition(one_day: RunDirectory, tmp_path: Path) -> None:
    """Below folders named key=value, the landed columns of those names reconcile as they are."""
    folder = tmp_path / "country=DE" / "status=delivered" / "total_cents=0"
    shutil.copytree(one_day.path, folder, symlinks=True)
    moved = StepContext(RunDirectory(folder), interval_of(DAY), source_url="unused")
    assert validate_output(moved).rows["orders"] == 440


def test_every_check_is_tampered_with() -> None:
    """No check of the marts is left without a test that it can fail."""
    assert {check.name for check in MART_RECONCILIATIONS} <= set(TAMPERINGS)


@pytest.mark.parametrize(("named", "tampering"), TAMPERINGS.items())
def test_a_number_that_disagrees_is_named(named: str, tampering: str, context: StepContext) -> None:
    """One changed number fails the validation with a line that names it, not to be retried."""
    with duckdb.connect(str(context.run.warehouse)) as connection:
        changed = connection.execute(tampering).fetchall()
    assert changed[0][0] > 0
    with pytest.raises(
        PipelineError, match=f"the {named}.* disagree: expected .*, found"
    ) as caught:
        validate_output(context)
    assert not caught.value.retryable


@pytest.mark.parametrize("fact", ["rows", "total_cents"])
def test_a_landing_file_that_differs_from_its_sidecar_is_named(
    fact: str, context: StepContext
) -> None:
    """A landed row count or sum other than the sidecar's is named with both values."""
    path = sidecar_file(context.run.landing_file("orders", context.interval))
    content = json.loads(path.read_text())
    place = content["file"] if fact == "rows" else content["sums"]
    place[fact] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(PipelineError, match=rf"landed .* disagree: expected {place[fact]}, found"):
        validate_output(context)
