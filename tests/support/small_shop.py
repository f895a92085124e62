"""A data set of two days whose few rows have every kind of value that a table can have."""

from __future__ import annotations

from datetime import UTC, date, datetime

from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.scripted_dataset import ScriptedDataset, changes
from pipeline_verification.oracle.history import IntervalSucceeded, SourceAdvanced

FIRST_DAY, LAST_DAY = date(2025, 1, 1), date(2025, 1, 2)
MORNING = datetime(2025, 1, 1, 8, tzinfo=UTC)
NOON = datetime(2025, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
NEXT_DAY = datetime(2025, 1, 2, tzinfo=UTC)

SMALL_SHOP = ScriptedDataset(
    {
        FIRST_DAY: [
            changes(
                "customers",
                {"id": 1, "email": "", "name": "Zoë", "updated_at": MORNING},
                {"id": 2, "name": 'O\'Neil\n"Q"', "country": "PT", "updated_at": NOON},
                {"id": 3, "email": "gone@example.com", "updated_at": NOON},
            ),
            changes(
                "products",
                {"id": 1, "sku": "a", "category": "books", "price_cents": 250, "updated_at": NOON},
                {"id": 2, "sku": "b", "price_cents": -1, "updated_at": MORNING},
            ),
            changes(
                "orders",
                {
                    "id": 1,
                    "user_id": 1,
                    "status": "shipped",
                    "subtotal_cents": 500,
                    "total_cents": 541,
                    "tax_rate_bp": 825,
                    "updated_at": MORNING,
                },
                {"id": 2, "user_id": 2, "status": "pending", "updated_at": NOON},
                {"id": 3, "user_id": 2, "status": "test", "updated_at": NOON},
            ),
            changes(
                "order_items",
                {
                    "id": 1,
                    "order_id": 1,
                    "product_id": 1,
                    "quantity": 2,
                    "unit_price_cents": 250,
                    "updated_at": MORNING,
                },
                {"id": 2, "order_id": 1, "product_id": 2, "quantity": 1, "updated_at": NOON},
            ),
            changes(
                "page_views",
                {"session_id": "s", "page_url": "/", "user_id": 1, "updated_at": MORNING},
                {"session_id": "s", "page_url": "/?q=☕", "referrer_url": "", "updated_at": NOON},
            ),
        ],
        LAST_DAY: [
            changes(
                "customers",
                {"id": 1, "email": "zoe@example.com", "name": "Zoë", "updated_at": NEXT_DAY},
                deleted=[{"id": 3}],
            ),
            changes(
                "orders", {"id": 2, "user_id": 2, "status": "cancelled", "updated_at": NEXT_DAY}
            ),
            changes(
                "page_views",
                {
                    "session_id": "s",
                    "page_url": "/",
                    "duration_seconds": 3,
                    "viewed_at": MORNING,
                    "updated_at": NEXT_DAY,
                },
            ),
        ],
    }
)
DAY_BY_DAY = tuple(
    event
    for interval in days(FIRST_DAY, 2)
    for event in (SourceAdvanced(interval.start.date()), IntervalSucceeded(interval))
)
