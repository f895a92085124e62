"""Late rows, corrected rows, and a row committed after the interval of its day had run."""

from __future__ import annotations

from datetime import UTC, date, datetime

from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.scenario_run import Scenario, ScenarioRun
from pipeline_verification.conformance.scripted_dataset import Row, ScriptedDataset, changes

FIRST_DAY, SECOND_DAY = date(2025, 1, 1), date(2025, 1, 2)
MORNING = datetime(2025, 1, 1, 8, tzinfo=UTC)
EVENING = datetime(2025, 1, 1, 20, 0, 0, 1, tzinfo=UTC)
NEXT_DAY = datetime(2025, 1, 2, tzinfo=UTC)
NEXT_NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)

LATE_ORDERS = """
    SELECT list(id ORDER BY id) FROM raw.orders WHERE created_at < '2025-01-02 00:00:00+00'
"""
LATE_PAGE_VIEWS = """
    SELECT list(page_url || ' ' || coalesce(duration_seconds::VARCHAR, '?') ORDER BY page_url)
    FROM marts.fct_page_views WHERE viewed_at < '2025-01-02 00:00:00+00'
"""


def order(number: int, status: str, **values: object) -> Row:
    """An order of five dollars by the customer of its number, with a tax of 8.25 %."""
    money = {"subtotal_cents": 500, "tax_rate_bp": 825, "total_cents": 541}
    return {"id": number, "user_id": number, "status": status, **money, **values}


def line(number: int, quantity: int, updated_at: datetime) -> Row:
    """The only line of the order of its number."""
    prices = {"unit_price_cents": 500, "product_id": 1, "quantity": quantity}
    return {"id": number, "order_id": number, **prices, "updated_at": updated_at}


def view(page: str, viewed_at: datetime, updated_at: datetime, seconds: int | None = None) -> Row:
    """A page view."""
    when = {"viewed_at": viewed_at, "updated_at": updated_at}
    return {"session_id": "s", "page_url": page, "duration_seconds": seconds, **when}


SHOP = ScriptedDataset(
    {
        FIRST_DAY: [
            changes(
                "customers",
                *({"id": n, "name": f"Customer {n}", "updated_at": MORNING} for n in (1, 2, 3)),
            ),
            changes(
                "products",
                {
                    "id": 1,
                    "sku": "a",
                    "category": "books",
                    "price_cents": 500,
                    "updated_at": MORNING,
                },
            ),
            changes(
                "orders",
                order(1, "shipped", updated_at=MORNING),
                order(2, "pending", updated_at=EVENING),
            ),
            changes("order_items", line(1, 1, MORNING), line(2, 1, EVENING)),
            changes("page_views", view("/", MORNING, MORNING), view("/cart", EVENING, EVENING, 9)),
        ],
        SECOND_DAY: [
            changes(
                "customers",
                {"id": 2, "name": "Corrected", "created_at": MORNING, "updated_at": NEXT_DAY},
                {"id": 4, "name": "Customer 4", "updated_at": EVENING},
                deleted=[{"id": 3}],
            ),
            changes(
                "products",
                {
                    "id": 1,
                    "sku": "a",
                    "category": "music",
                    "price_cents": 450,
                    "updated_at": NEXT_NOON,
                },
            ),
            changes(
                "orders",
                order(2, "cancelled", created_at=EVENING, updated_at=NEXT_NOON),  # a correction
                order(3, "pending", created_at=MORNING, updated_at=NEXT_DAY),  # late
                order(4, "pending", updated_at=EVENING),  # committed after its day had run
            ),
            changes(
                "order_items", line(1, 3, NEXT_NOON), line(3, 1, NEXT_DAY), line(4, 2, EVENING)
            ),
            changes(
                "page_views",
                view("/", MORNING, NEXT_DAY, 3),
                view("/late", EVENING, NEXT_NOON, 5),
                view("/too-late", EVENING, EVENING, 7),
            ),
        ],
    }
)


def run(scenario: ScenarioRun) -> None:
    first, second = days(FIRST_DAY, 2)
    scenario.advance(FIRST_DAY)
    scenario.run_interval(first)
    _expect(scenario, "before", [1, 2], ["/ ?", "/cart 9"])
    scenario.advance(SECOND_DAY)
    scenario.run_interval(second)
    _expect(scenario, "late and corrected", [1, 2, 3], ["/ 3", "/cart 9", "/late 5"])
    scenario.run_interval(first)
    _expect(scenario, "run again", [1, 2, 3, 4], ["/ 3", "/cart 9", "/late 5", "/too-late 7"])


def _expect(scenario: ScenarioRun, name: str, orders: list[int], page_views: list[str]) -> None:
    """Check which rows of the first day the warehouse has now."""
    seen = [scenario.query(LATE_ORDERS)[0][0], scenario.query(LATE_PAGE_VIEWS)[0][0]]
    expected = [orders, page_views]
    problems = [] if seen == expected else [f"the first day's rows are {seen}, not {expected}"]
    scenario.check(name, problems, f"of the first day: orders {orders}, page views {page_views}")


SCENARIO = Scenario(
    title="Late and corrected rows",
    rule="A row that is late or corrected arrives with the interval of its updated_at.",
    dataset=lambda: SHOP,
    run=run,
)
