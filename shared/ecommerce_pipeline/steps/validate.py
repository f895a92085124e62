"""Reconciling an interval: rows and money from the landing files through raw to the marts.

Every check compares two numbers, or two sets of rows, that are computed in different ways. The
marts are checked whole, since a late row may change any day of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import landing, warehouse
from ecommerce_pipeline.storage.parquet import parquet_table
from ecommerce_pipeline.storage.raw import create_present_views, row_version, same_key


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Two queries of one value each, which must agree; a sum over no rows counts as zero."""

    name: str
    expected: str
    actual: str


MART_RECONCILIATIONS = (
    Reconciliation(
        "rows of fct_orders",
        "SELECT count(*) FROM present_orders WHERE status <> 'test'",
        "SELECT count(*) FROM marts.fct_orders",
    ),
    Reconciliation(
        "subtotal of fct_orders in cents",
        "SELECT sum(subtotal_cents) FROM present_orders WHERE status <> 'test'",
        "SELECT sum(subtotal) * 100 FROM marts.fct_orders",
    ),
    Reconciliation(
        "tax of fct_orders in cents",
        "SELECT sum(total_cents - subtotal_cents) FROM present_orders WHERE status <> 'test'",
        "SELECT sum(tax) * 100 FROM marts.fct_orders",
    ),
    Reconciliation(
        "total of fct_orders in cents",
        "SELECT sum(total_cents) FROM present_orders WHERE status <> 'test'",
        "SELECT sum(total) * 100 FROM marts.fct_orders",
    ),
    Reconciliation(
        "item_count of fct_orders",
        "SELECT count(*) FROM present_order_items WHERE order_id IN"
        " (SELECT id FROM present_orders WHERE status <> 'test')",
        "SELECT sum(item_count) FROM marts.fct_orders",
    ),
    Reconciliation(
        "units of daily_revenue_by_category",
        "SELECT sum(quantity) FROM present_order_items WHERE order_id IN"
        " (SELECT id FROM present_orders WHERE status NOT IN ('test', 'cancelled'))",
        "SELECT sum(units) FROM marts.daily_revenue_by_category",
    ),
    Reconciliation(
        "rows of fct_page_views",
        "SELECT count(*) FROM (SELECT DISTINCT session_id, page_url, viewed_at"
        " FROM present_page_views)",
        "SELECT count(*) FROM marts.fct_page_views",
    ),
    Reconciliation(
        "number of page views whose key fct_page_views lacks",
        "SELECT 0",
        "SELECT count(*) FROM present_page_views AS kept WHERE NOT EXISTS"
        " (FROM marts.fct_page_views AS mart WHERE mart.session_id = kept.session_id"
        " AND mart.page_url = kept.page_url AND mart.viewed_at = kept.viewed_at)",
    ),
    Reconciliation(
        "duration of fct_page_views in seconds",
        "SELECT sum(duration_seconds) FROM present_page_views",
        "SELECT sum(duration_seconds) FROM marts.fct_page_views",
    ),
    Reconciliation(
        "rows of dim_customers",
        "SELECT count(*) FROM present_customers",
        "SELECT count(*) FROM marts.dim_customers",
    ),
    Reconciliation(
        "lifetime_value of dim_customers in cents",
        "SELECT sum(total_cents) FROM present_orders WHERE status NOT IN ('test', 'cancelled')"
        " AND user_id IN (SELECT customer_id FROM marts.dim_customers)",
        "SELECT sum(lifetime_value) * 100 FROM marts.dim_customers",
    ),
    Reconciliation(
        "rows of dim_products",
        "SELECT count(*) FROM present_products",
        "SELECT count(*) FROM marts.dim_products",
    ),
    Reconciliation(
        "price of dim_products in cents",
        "SELECT sum(price_cents) FROM present_products",
        "SELECT sum(price) * 100 FROM marts.dim_products",
    ),
)

# The mart rounds with the DECIMAL type's round(). Here revenue is rounded in whole numbers, so that
# a mistake in the mart's expression is not repeated: 10,000 millionths of a dollar are a cent,
# adding half of that before the division rounds a half up, and on the absolute value that is away
# from zero. The multiplication is HUGEINT: three BIGINTs may exceed 64 bits.
_DAILY_DIFFERENCES = """
    WITH exact AS (
        SELECT
            CAST(timezone('UTC', orders.created_at) AS DATE) AS order_date,
            coalesce(products.category, 'unknown') AS category,
            sum(
                (items.quantity::HUGEINT * items.unit_price_cents - items.discount_cents)
                * (10000 + orders.tax_rate_bp)
            )::HUGEINT AS microdollars,
            count(DISTINCT orders.id) AS order_count,
            sum(items.quantity) AS units
        FROM present_order_items AS items
        JOIN present_orders AS orders ON items.order_id = orders.id
        LEFT JOIN present_products AS products ON items.product_id = products.id
        WHERE orders.status NOT IN ('test', 'cancelled')
        GROUP BY ALL
    ),
    expected AS (
        SELECT *, sign(microdollars) * ((abs(microdollars) + 5000) // 10000) AS cents FROM exact
    ),
    mart AS (
        SELECT *, (revenue::DECIMAL(38, 2) * 100)::HUGEINT AS cents
        FROM marts.daily_revenue_by_category
    )
    SELECT
        coalesce(expected.order_date, mart.order_date),
        coalesce(expected.category, mart.category),
        {'revenue in cents': expected.cents, 'orders': expected.order_count,
         'units': expected.units},
        {'revenue in cents': mart.cents, 'orders': mart.order_count, 'units': mart.units}
    FROM expected
    FULL JOIN mart
        ON expected.order_date = mart.order_date AND expected.category = mart.category
    WHERE (expected.cents, expected.order_count, expected.units)
        IS DISTINCT FROM (mart.cents, mart.order_count, mart.units)
    ORDER BY 1, 2
    LIMIT 1
"""


def validate_output(context: StepContext) -> StepResult:
    """Compare the interval's landing files with raw, and raw with the marts.

    An interval without rows is valid: what counts is agreement.

    Raises:
        PipelineError: two numbers disagree; the message says which, with both values.
    """
    with warehouse.connect(context.run.warehouse) as connection:
        create_present_views(connection)
        rows = {table.name: _check_landed(connection, context, table) for table in TABLES}
        for each in MART_RECONCILIATIONS:
            _compare(each.name, _value(connection, each.expected), _value(connection, each.actual))
        _check_daily_revenue(connection)
    return StepResult(rows=rows, details={"mart_checks": len(MART_RECONCILIATIONS) + 1})


def _check_landed(connection: duckdb.DuckDBPyConnection, context: StepContext, table: Table) -> int:
    """Every landed row must be in raw, or a newer version of it; return the number of them."""
    path = context.run.landing_file(table.name, context.interval)
    sidecar = landing.read_sidecar(path)
    landed = f"FROM {parquet_table(path)}"
    rows = _value(connection, f"SELECT count(*) {landed}")
    _compare(f"landed rows of {table.name}", sidecar.rows, rows)
    for name, expected in sidecar.sums.items():
        total = _value(connection, f'SELECT sum("{name}") {landed}')
        _compare(f"landed sum of {table.name}.{name}", expected, total)
    _compare(f"landed rows of {table.name} missing from raw", 0, _missing(connection, table, path))
    return sidecar.rows


def _missing(connection: duckdb.DuckDBPyConnection, table: Table, path: Path) -> int:
    """How many landed rows are neither in raw, column for column, nor replaced by a newer row."""
    return _value(
        connection,
        f"SELECT count(*) FROM {parquet_table(path)} AS landed"
        f' WHERE NOT EXISTS (FROM raw."{table.name}" AS kept'
        f" WHERE {same_key(table, 'kept', 'landed')} AND (kept.updated_at > landed.updated_at"
        f" OR {row_version(table, 'kept')} IS NOT DISTINCT FROM {row_version(table, 'landed')}))",
    )


def _check_daily_revenue(connection: duckdb.DuckDBPyConnection) -> None:
    for day, category, expected, actual in connection.execute(_DAILY_DIFFERENCES).fetchall():
        for number in expected:
            _compare(f"{number} of {category!r} on {day}", expected[number], actual[number])


def _value(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    # DuckDB sums BIGINT as HUGEINT and DECIMAL as DECIMAL(38), so no sum wraps around.
    value = connection.execute(query).fetchall()[0][0]
    return 0 if value is None else value


def _compare(name: str, expected: object, actual: object) -> None:
    if expected != actual:
        raise PipelineError(
            f"the {name} disagree: expected {_plain(expected)}, found {_plain(actual)}",
            "run the interval again, and the earlier ones that failed, in order",
        )


def _plain(value: object) -> str:
    return "none" if value is None else f"{value:f}" if isinstance(value, Decimal) else str(value)
