"""What the staging tests let through, and what stops the pipeline before the marts."""

from __future__ import annotations

import pytest

from ecommerce_pipeline import steps
from ecommerce_pipeline.errors import PipelineError
from support.raw_warehouse import Shop

MARTS = (
    "daily_revenue_by_category",
    "dim_customers",
    "dim_products",
    "fct_orders",
    "fct_page_views",
)


def failing_tests(error: PipelineError) -> set[str]:
    """The failed tests that the message names, each with its number of rows."""
    return set(error.message.partition(" failed: ")[2].split(", "))


def test_bad_rows_fail_by_name(shop: Shop) -> None:
    """Values that are always wrong fail the staging tests; each is named with its rows."""
    shop.load("products", {"id": 1, "price_cents": -1}, {"id": 2, "price_cents": None})
    shop.load(
        "orders",
        {"id": 1, "status": "lost"},
        {"id": 2, "status": "pending", "tax_rate_bp": 10_001},
        {"id": 3, "status": "pending", "tax_rate_bp": -1},
        {"id": 4, "status": "pending", "total_cents": None},
        {"id": 5, "status": None},
    )
    shop.load(
        "order_items",
        {"id": 1, "unit_price_cents": -1},
        {"id": 2, "quantity": None},
    )
    shop.load("page_views", {"session_id": "s", "duration_seconds": -1})
    shop.loaded()
    with pytest.raises(PipelineError, match=r"^10 of 40 dbt tests failed") as error:
        steps.resolve("dbt_test_staging")(shop.context())
    assert failing_tests(error.value) == {
        "product_price_is_not_negative (1 row)",
        "not_null_stg_products_price_cents (1 row)",
        "raw_order_status_is_known (1 row)",
        "order_status_is_known (1 row)",
        "source_not_null_raw_orders_status (1 row)",
        "tax_rate_is_between_0_and_100_percent (2 rows)",
        "not_null_stg_orders_total_cents (1 row)",
        "unit_price_is_not_negative (1 row)",
        "not_null_stg_order_items_quantity (1 row)",
        "page_view_duration_is_not_negative (1 row)",
    }
    assert not error.value.retryable
    assert "dbt.log" in error.value.hint


def test_a_duplicate_key_fails_before_the_snapshot(shop: Shop) -> None:
    """Two customers with one id never reach the snapshot."""
    shop.execute("INSERT INTO raw.customers (id, updated_at) SELECT 7, now() FROM range(2)")
    shop.loaded(customers=(7,))
    with pytest.raises(PipelineError, match="unique_stg_customers_customer_id"):
        steps.resolve("dbt_test_staging")(shop.context())


def test_odd_but_real_rows_pass(shop: Shop) -> None:
    """Returns, negative totals, test orders, unknown customers and products are no failure."""
    shop.load(
        "orders",
        {"id": 1, "user_id": 404, "status": "pending", "subtotal_cents": -7, "total_cents": -8},
        {"id": 2, "status": "test"},
    )
    shop.load(
        "order_items",
        {"id": 1, "order_id": 1, "product_id": 404, "quantity": -2, "discount_cents": 9},
        {"id": 2, "order_id": 2, "product_id": 404, "quantity": 0},
    )
    shop.loaded()
    result = steps.resolve("dbt_test_staging")(shop.context())
    assert result.details["warnings"] == (
        "order_has_a_customer (1 row), order_line_has_a_product (2 rows)"
    )
    assert result.details["warn"] == 2


def test_lines_without_an_order_are_reported(shop: Shop) -> None:
    """A line whose order is unknown counts nowhere and is named by a warning."""
    shop.load("products", {"id": 1})
    shop.load("order_items", {"id": 1, "order_id": 404, "product_id": 1, "quantity": 5})
    shop.loaded()
    assert shop.build().rows["daily_revenue_by_category"] == 0
    result = steps.resolve("dbt_test_staging")(shop.context())
    assert result.details["warnings"] == "order_line_has_an_order (1 row)"


def test_lines_of_deleted_rows_are_reported(shop: Shop) -> None:
    """A line whose order or product the source has deleted is named by a warning."""
    shop.load("products", {"id": 1})
    shop.load("orders", {"id": 1, "status": "pending"})
    shop.load("order_items", {"id": 1, "order_id": 1, "product_id": 1, "quantity": 5})
    shop.loaded()
    shop.execute("INSERT INTO raw.deleted_orders VALUES (1)")
    shop.execute("INSERT INTO raw.deleted_products VALUES (1)")
    warned = str(steps.resolve("dbt_test_staging")(shop.context()).details["warnings"])
    assert "order_line_has_a_product (1 row), order_line_has_an_order (1 row)" in warned


def test_bad_marts_fail_by_name(shop: Shop) -> None:
    """Marts and a history that break their rules fail the marts tests, which name them."""
    shop.load("customers", {"id": 1})
    shop.load("orders", {"id": 1, "user_id": 1, "status": "pending"})
    shop.load("order_items", {"id": 1, "order_id": 1, "quantity": 1})
    shop.load("page_views", {"session_id": "s", "page_url": "/"})
    shop.load("products", {"id": 1})
    shop.loaded(customers=(1,))
    shop.build()
    steps.resolve("dbt_test_marts")(shop.context())
    for mart in MARTS:
        shop.execute(f"INSERT INTO marts.{mart} FROM marts.{mart}")
    shop.execute("UPDATE marts.fct_orders SET status = 'lost', item_count = -1")
    shop.execute("UPDATE marts.daily_revenue_by_category SET order_count = 0")
    shop.execute("INSERT INTO snapshots.snap_customers FROM snapshots.snap_customers")
    shop.execute("UPDATE snapshots.snap_customers SET customer_id = NULL")
    with pytest.raises(PipelineError) as error:
        steps.resolve("dbt_test_marts")(shop.context())
    assert failing_tests(error.value) == {
        "unique_dim_customers_customer_id (1 row)",
        "unique_dim_products_product_id (1 row)",
        "unique_fct_orders_order_id (1 row)",
        "unique_fct_page_views_page_view_id (1 row)",
        "daily_revenue_is_unique_by_date_and_category (1 row)",
        "fct_orders_status_is_known (1 row)",
        "item_count_is_not_negative (2 rows)",
        "daily_order_count_is_positive (2 rows)",
        "unique_snap_customers_dbt_scd_id (1 row)",
        "not_null_snap_customers_customer_id (2 rows)",
        "customer_versions_do_not_overlap (1 row)",
        "current_customer_versions_are_the_present_customers (3 rows)",
    }
