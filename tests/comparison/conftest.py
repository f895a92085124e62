"""A small warehouse with every table and kind of value, and copies of it to spoil."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from proof.history import parse_history
from proof.oracle import expected_tables
from proof.scripted import ScriptedDataset, changes
from proof.source_state import SourceState

MORNING = datetime(2025, 1, 1, 8, tzinfo=UTC)
NOON = datetime(2025, 1, 1, 12, 0, 0, 1, tzinfo=UTC)
DATASET = ScriptedDataset(
    {
        date(2025, 1, 1): [
            changes(
                "customers",
                {"id": 1, "email": "", "name": "Zoë", "updated_at": MORNING},
                {
                    "id": 2,
                    "email": None,
                    "name": 'O\'Neil\n"Q"',
                    "country": "PT",
                    "updated_at": NOON,
                },
            ),
            changes(
                "products",
                {"id": 1, "sku": "a", "category": "books", "price_cents": 250, "updated_at": NOON},
                {"id": 2, "sku": "b", "category": None, "price_cents": -1, "updated_at": MORNING},
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
                {"id": 2, "user_id": 2, "status": "cancelled", "updated_at": NOON},
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
        ]
    }
)


@pytest.fixture(scope="session")
def expected() -> dict[str, pa.Table]:
    """What the oracle says that each table of the small warehouse holds."""
    history = parse_history([{"advance": "2025-01-01"}, {"interval": "2025-01-01"}])
    return expected_tables(SourceState(DATASET), history)


@pytest.fixture(scope="session")
def warehouse(expected: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file with just those tables; never change it."""
    path = tmp_path_factory.mktemp("small") / "warehouse.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE SCHEMA raw; CREATE SCHEMA marts; CREATE SCHEMA snapshots")
        for name, rows in expected.items():
            connection.register("rows", rows)
            connection.execute(f"CREATE TABLE {name} AS FROM rows")
    return path


Spoil = Callable[..., Path]


@pytest.fixture(scope="session")
def spoiled(warehouse: Path) -> Spoil:
    """Copies of the warehouse in which given SQL statements were executed."""
    numbers = itertools.count()

    def copy(*statements: str, parameters: list[object] | None = None) -> Path:
        path = warehouse.with_name(f"spoiled-{next(numbers) % 2}.duckdb")
        shutil.copyfile(warehouse, path)
        with duckdb.connect(path) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for statement in statements:
                connection.execute(statement, parameters)
        return path

    return copy
