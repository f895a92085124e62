"""What holds in every synthetic history, whatever its options and length."""

from __future__ import annotations

from contextlib import closing

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.datasets.synthetic import LARGEST_SEED, Synthetic
from support.row_versions import all_versions

# Each query finds the rows that break its rule.
RULES = {
    "the order's subtotal is the sum of its lines as they stand on the day": """
        SELECT orders.id FROM orders
        LEFT JOIN line_spans AS line ON line.order_id = orders.id
            AND line.day <= orders.day AND orders.day < line.next_day
        GROUP BY orders.id, orders.version, subtotal_cents
        HAVING subtotal_cents
            <> coalesce(sum(quantity * unit_price_cents - discount_cents), 0)
    """,
    "a new or corrected line comes with its order, where the source has the order": """
        SELECT line.id FROM order_items AS line
        WHERE line.order_id IN (SELECT id FROM orders)
        AND (line.order_id, line.day) NOT IN (SELECT (id, day) FROM orders)
    """,
    "the total adds the tax rounded to the nearest cent, half a cent upwards": """
        SELECT id FROM orders
        WHERE (total_cents - subtotal_cents) * 10000 - subtotal_cents * tax_rate_bp
            NOT BETWEEN -4999 AND 5000
    """,
    "a new line of a known product has the product's price on that day": """
        SELECT line.id FROM order_items AS line
        JOIN product_spans AS product ON product.id = product_id
            AND product.day <= line.day AND line.day < product.next_day
        WHERE line.version = 0 AND unit_price_cents <> price_cents
    """,
    "no amount is negative": """
        SELECT id FROM order_items
        WHERE quantity < 1 OR unit_price_cents < 1
            OR discount_cents NOT BETWEEN 0 AND quantity * unit_price_cents
    """,
    "a customer who orders or looks at a page is in the source at the end of that day": """
        SELECT user_id FROM (
            SELECT user_id, day FROM orders WHERE version = 0
            UNION ALL
            SELECT user_id, day FROM page_views WHERE version = 0 AND user_id IS NOT NULL
        ) AS visit
        WHERE NOT EXISTS (SELECT 1 FROM customers WHERE id = user_id AND customers.day <= visit.day)
        OR EXISTS (SELECT 1 FROM deletions WHERE id = user_id AND deletions.day <= visit.day)
    """,
    "a deleted customer has no version on that day or later": """
        SELECT id FROM deletions JOIN customers USING (id) WHERE customers.day >= deletions.day
    """,
    "what a row is born with stays": """
        SELECT id FROM orders GROUP BY id
        HAVING count(DISTINCT (user_id, tax_rate_bp, created_at)) > 1
        UNION ALL
        SELECT id FROM products GROUP BY id
        HAVING count(DISTINCT (sku, name, category, created_at)) > 1
        UNION ALL
        SELECT id FROM customers GROUP BY id HAVING count(DISTINCT created_at) > 1
        UNION ALL
        SELECT id FROM order_items GROUP BY id
        HAVING count(DISTINCT (order_id, product_id, unit_price_cents, discount_cents)) > 1
        UNION ALL
        SELECT 0 FROM page_views GROUP BY session_id, page_url, viewed_at
        HAVING count(DISTINCT (user_id, referrer_url)) > 1
    """,
    "nothing was created after it came, nor on a later day than it changed": """
        SELECT id FROM orders WHERE created_at > updated_at
        UNION ALL SELECT id FROM products WHERE created_at > updated_at
        UNION ALL SELECT id FROM customers WHERE created_at > updated_at
        UNION ALL SELECT 0 FROM page_views WHERE viewed_at > updated_at
    """,
}


def _broken_rules(versions: duckdb.DuckDBPyConnection) -> list[str]:
    for name, table in (("line_spans", "order_items"), ("product_spans", "products")):
        spans = "*, lead(day, 1, DATE '9999-01-01') OVER (PARTITION BY id ORDER BY day) AS next_day"
        versions.table(table).project(spans).create_view(name)
    return [rule for rule, query in RULES.items() if versions.execute(query).fetchall()]


@settings(max_examples=12)
@given(seed=st.integers(1, LARGEST_SEED), scale=st.integers(1, 4), day_count=st.integers(1, 16))
def test_history(seed: int, scale: int, day_count: int) -> None:
    """Money adds up, keys and times are in order, and references hold, on each day."""
    with closing(all_versions(Synthetic(seed, scale), day_count)) as versions:
        for table in TABLES:
            rows = versions.table(table.name)
            key = ", ".join(table.key)
            assert len(rows.filter("updated_at::DATE <> day")) == 0
            assert len(rows.project(f"{key}, day").distinct()) == len(rows)
            before = f"lag(updated_at) OVER (PARTITION BY {key} ORDER BY day)"
            assert len(rows.project(f"updated_at <= {before} AS stays").filter("stays")) == 0
        assert _broken_rules(versions) == []
