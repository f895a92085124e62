"""Rows of every table that the source deletes, of which some return unchanged."""

from __future__ import annotations

from datetime import UTC, date, datetime

from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.scenario_run import Scenario, ScenarioRun
from pipeline_verification.conformance.scripted_dataset import Row, ScriptedDataset, changes

FIRST_DAY, SECOND_DAY, THIRD_DAY = (date(2025, 1, number) for number in (1, 2, 3))
MORNING = datetime(2025, 1, 1, 8, tzinfo=UTC)

PRESENT = """
    SELECT
        (SELECT list(customer_id ORDER BY customer_id) FROM marts.dim_customers),
        (SELECT list(product_id ORDER BY product_id) FROM marts.dim_products),
        (SELECT list(order_id ORDER BY order_id) FROM marts.fct_orders),
        (SELECT sum(item_count)::INTEGER FROM marts.fct_orders),
        (SELECT sum(revenue)::VARCHAR FROM marts.daily_revenue_by_category),
        (SELECT list(page_url ORDER BY page_url) FROM marts.fct_page_views)
"""
VERSIONS = """
    SELECT strftime(dbt_valid_from, '%m-%d %H'), strftime(dbt_valid_to, '%m-%d %H')
    FROM snapshots.snap_customers WHERE customer_id = 4 ORDER BY dbt_valid_from
"""

CUSTOMERS: list[Row] = [
    {"id": n, "name": f"Customer {n}", "updated_at": MORNING} for n in (1, 2, 3, 4)
]
PRODUCTS: list[Row] = [
    {"id": n, "sku": f"p{n}", "category": "books", "price_cents": 100, "updated_at": MORNING}
    for n in (1, 2, 3)
]
ORDERS: list[Row] = [
    {
        "id": n,
        "user_id": n,
        "status": "shipped",
        "subtotal_cents": 100,
        "total_cents": 100,
        "updated_at": MORNING,
    }
    for n in (1, 2, 3, 4)
]
LINES: list[Row] = [
    {
        "id": n,
        "order_id": n % 4 + 1,
        "product_id": n % 3 + 1,
        "quantity": 1,
        "unit_price_cents": 100,
        "updated_at": MORNING,
    }
    for n in range(8)
]
VIEWS: list[Row] = [
    {"session_id": "s", "page_url": page, "viewed_at": MORNING, "updated_at": MORNING}
    for page in ("/a", "/b", "/c")
]


def changed_on(day: date) -> Row:
    """A change of the first customer, without which the source would be stale."""
    return {**CUSTOMERS[0], "updated_at": datetime(day.year, day.month, day.day, 8, tzinfo=UTC)}


SHOP = ScriptedDataset(
    {
        FIRST_DAY: [
            changes("customers", *CUSTOMERS),
            changes("products", *PRODUCTS),
            changes("orders", *ORDERS),
            changes("order_items", *LINES),
            changes("page_views", *VIEWS),
        ],
        SECOND_DAY: [
            changes("customers", changed_on(SECOND_DAY), deleted=[{"id": 3}, {"id": 4}]),
            changes("products", deleted=[{"id": 3}]),
            changes("orders", deleted=[{"id": 4}]),
            changes("order_items", deleted=[{"id": 0}, {"id": 3}, {"id": 7}]),
            changes("page_views", deleted=[{**VIEWS[1]}]),
        ],
        THIRD_DAY: [
            changes("customers", CUSTOMERS[3], changed_on(THIRD_DAY)),
            changes("orders", ORDERS[3]),
            changes("order_items", LINES[3]),
            changes("page_views", VIEWS[1]),
        ],
    }
)


def run(scenario: ScenarioRun) -> None:
    expected = [
        ([1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 4], 8, "8.00", ["/a", "/b", "/c"]),
        ([1, 2], [1, 2], [1, 2, 3], 5, "5.00", ["/a", "/c"]),
        ([1, 2, 4], [1, 2], [1, 2, 3, 4], 6, "6.00", ["/a", "/b", "/c"]),
    ]
    for interval, rows in zip(days(FIRST_DAY, 3), expected, strict=True):
        scenario.advance(interval.start.date())
        scenario.run_interval(interval)
        (seen,) = scenario.query(PRESENT)
        problems = [] if seen == rows else [f"the marts hold {seen}, not {rows}"]
        scenario.check(f"marts of {interval.label}", problems, "the rows that the source has")
    versions = scenario.query(VERSIONS)
    due = [("01-01 08", "01-03 00"), ("01-03 00", None)]
    scenario.check(
        "versions of the customer who returned",
        [] if versions == due else [f"the versions are {versions}, not {due}"],
        "closed after the second day, open again from the third",
    )


SCENARIO = Scenario(
    title="Deleted and returned rows",
    rule="Rows that the source deletes leave every mart, and those that return are back.",
    dataset=lambda: SHOP,
    run=run,
)
