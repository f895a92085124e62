"""A column of another type is refused with its right type, and with advice that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import ORDERS
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.steps.freshness import check_source_freshness
from support.foreign_source import create, execute, insert

DAY = DataInterval.parse("2025-01-02")


def extract(url: str, folder: Path) -> int:
    """The number of the day's orders."""
    return extract_table(StepContext(RunDirectory(folder), DAY, url), ORDERS).rows["orders"]


def failure(url: str, folder: Path) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        extract(url, folder)
    return caught.value


def test_times_without_a_zone_are_refused(postgres_url: str, tmp_path: Path) -> None:
    """The message names the type with a zone; the statement of the hint makes the table fit."""
    create(postgres_url, time_type="timestamp")
    insert(postgres_url, ORDERS, noon="'2025-01-02 12:00'")
    error = failure(postgres_url, tmp_path)
    assert error.message == (
        "the source table orders declares created_at as timestamp without time zone, not as"
        " timestamp with time zone (timestamptz) and declares updated_at as timestamp without"
        " time zone, not as timestamp with time zone (timestamptz)"
    )
    with pytest.raises(PipelineError, match=r"customers declares created_at as timestamp without"):
        check_source_freshness(StepContext(RunDirectory(tmp_path), DAY, postgres_url))
    statements = [part.partition(", with the zone")[0] for part in error.hint.split("; ")]
    execute(postgres_url, *(statement.removeprefix("run ") for statement in statements))
    assert extract(postgres_url, tmp_path) == 1


def test_times_of_a_view_without_a_zone_are_refused(postgres_url: str, tmp_path: Path) -> None:
    """Where the table is a view, whose columns cannot be altered, the hint says what to select."""
    create(postgres_url)
    insert(postgres_url, ORDERS)
    local = "created_at AT TIME ZONE 'UTC'"
    others = ", ".join(name for name in ORDERS.column_names if name != "created_at")
    execute(
        postgres_url,
        "ALTER TABLE orders RENAME TO stored",
        f"CREATE VIEW orders AS SELECT {others}, {local} AS created_at FROM stored",
    )
    error = failure(postgres_url, tmp_path)
    selected = "created_at AT TIME ZONE 'UTC' AS created_at"
    assert error.hint == f"select {selected} in the view, with the zone that its times are in"
    execute(
        postgres_url,
        "ALTER VIEW orders RENAME TO local",
        f"CREATE VIEW orders AS SELECT {others}, {selected} FROM local",
    )
    assert extract(postgres_url, tmp_path) == 1


@pytest.mark.parametrize("declared", ["REAL", "NUMERIC", "BLOB", ""])
def test_a_time_column_of_sqlite_names_both_forms(
    sqlite_url: str, tmp_path: Path, declared: str
) -> None:
    """A time column that is neither integer nor text nor date is refused with both forms."""
    create(sqlite_url)
    execute(
        sqlite_url,
        "ALTER TABLE orders DROP COLUMN updated_at",
        f"ALTER TABLE orders ADD COLUMN updated_at {declared}",
    )
    assert failure(sqlite_url, tmp_path).message == (
        f"the source table orders declares updated_at as {declared or 'nothing'}, not as INTEGER"
        " of microseconds since 1970 UTC or TEXT in ISO 8601"
    )


@pytest.mark.parametrize(
    ("expression", "declared"), [("1.5", "REAL"), ("x'00'", "BLOB"), ("'a'", "TEXT")]
)
def test_an_expression_of_a_view_has_the_type_of_its_values(
    sqlite_url: str, tmp_path: Path, expression: str, declared: str
) -> None:
    """SQLite declares no type for a view's expression; its first value is taken instead."""
    create(sqlite_url)
    insert(sqlite_url, ORDERS)
    others = ", ".join(name for name in ORDERS.column_names if name != "user_id")
    execute(
        sqlite_url,
        "ALTER TABLE orders RENAME TO stored",
        f"CREATE VIEW orders AS SELECT {others}, {expression} AS user_id FROM stored",
    )
    assert failure(sqlite_url, tmp_path).message == (
        f"the source table orders declares user_id as {declared}, not as INTEGER"
    )


def test_a_view_without_rows_is_accepted(sqlite_url: str, tmp_path: Path) -> None:
    """Where a view's expression has no value yet, nothing speaks against its type."""
    create(sqlite_url)
    others = ", ".join(name for name in ORDERS.column_names if name != "updated_at")
    execute(
        sqlite_url,
        "ALTER TABLE orders RENAME TO stored",
        f"CREATE VIEW orders AS SELECT {others}, updated_at * 1000 AS updated_at FROM stored",
    )
    assert extract(sqlite_url, tmp_path) == 0
