"""Rows that no interval would ever hold are refused by table, key and count."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, PAGE_VIEWS, TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.steps.freshness import check_source_freshness
from support.foreign_source import create, execute, failure, insert

DAY = DataInterval.parse("2025-01-02")
MICROSECONDS = 1_735_819_200_000_000  # 2025-01-02T12:00Z


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_row_without_updated_at_is_refused(url: str, tmp_path: Path, table: Table) -> None:
    """NULL in updated_at, which no comparison finds, is refused in every table."""
    create(url)
    insert(url, table)
    key = table.key[0]
    value = "'x'" if table is PAGE_VIEWS else "7"
    insert(url, table, **{key: value, "updated_at": "NULL"})
    message = failure(url, tmp_path, table).message
    assert message.startswith(f"{table.name}.updated_at is NULL, in the row with {key}={value}")


def test_unusable_rows_are_counted(url: str, tmp_path: Path) -> None:
    """Of several such rows the count is given, and the key of the first."""
    create(url)
    for key in ("9", "7", "8"):
        insert(url, CUSTOMERS, id=key, updated_at="NULL")
    error = failure(url, tmp_path, CUSTOMERS)
    assert error.message == "customers.updated_at is NULL, in 3 rows, the first with id=7"
    assert error.hint == "give each such row the time of its last change"


@pytest.mark.parametrize(
    ("value", "postgres"),
    [
        ("-62135596800000001", "'0001-12-31 23:59:59.999999Z BC'"),
        ("253402300800000000", "'10000-01-01 00:00Z'"),
        ("-9223372036854775808", "'-infinity'"),
        ("9223372036854775807", "'infinity'"),
    ],
)
def test_a_time_outside_the_calendar_is_refused(
    url: str, tmp_path: Path, value: str, postgres: str
) -> None:
    """A time before the year 1 or after 9999, infinity included, is in no interval."""
    create(url)
    value = value if url.startswith("sqlite") else postgres
    insert(url, CUSTOMERS)
    insert(url, CUSTOMERS, id="7", updated_at=value)
    assert failure(url, tmp_path, CUSTOMERS).message == (
        "customers.updated_at is infinite or outside the years 1 to 9999, in the row with id=7"
    )


def test_the_calendars_ends_are_accepted(url: str, tmp_path: Path) -> None:
    """The first and the last microsecond of the years 1 to 9999 are times like others."""
    create(url)
    first, last = ("-62135596800000000", "253402300799999999")
    if not url.startswith("sqlite"):
        first, last = ("'0001-01-01 00:00Z'", "'9999-12-31 23:59:59.999999Z'")
    for key, value in enumerate((first, last)):
        insert(url, CUSTOMERS, id=str(key), updated_at=value)
    context = StepContext(RunDirectory(tmp_path / "run"), DAY, url)
    assert extract_table(context, CUSTOMERS).rows == {"customers": 0}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("'2025-01-02'", "'2025-01-02'"),
        ("'unknown'", "'unknown'"),
        ("1735819200000000.5", "1735819200000000.5"),
        ("9e999", "inf"),
        ("x'00'", "b'\\x00'"),
    ],
)
def test_a_value_of_another_type_is_refused(
    sqlite_url: str, tmp_path: Path, value: str, shown: str
) -> None:
    """SQLite takes text, fractions and bytes in an integer column; none of them is a time."""
    create(sqlite_url)
    insert(sqlite_url, CUSTOMERS)
    insert(sqlite_url, CUSTOMERS, id="7", updated_at=value)
    assert failure(sqlite_url, tmp_path, CUSTOMERS).message == (
        f"customers.updated_at holds {shown}, not an integer of microseconds since 1970,"
        " in the row with id=7"
    )


@pytest.mark.parametrize(("factor", "unit"), [(1, "seconds"), (1000, "milliseconds")])
@pytest.mark.parametrize("column", ["updated_at", "created_at"])
def test_seconds_and_milliseconds_are_recognised(
    sqlite_url: str, tmp_path: Path, factor: int, unit: str, column: str
) -> None:
    """Times that would lie in January 1970 are refused as what they are."""
    create(sqlite_url)
    insert(sqlite_url, ORDERS, **{column: str(1_735_819_200 * factor)})
    error = failure(sqlite_url, tmp_path, ORDERS)
    assert error.message == (
        f"orders.{column} holds {1_735_819_200 * factor}, which are {unit} since 1970 and not"
        " microseconds, in the row with id=1"
    )
    assert f"{column} * {1_000_000 // factor}" in error.hint


@pytest.mark.parametrize("value", ["NULL", "1735819200", "'yesterday'"])
def test_freshness_names_the_unusable_rows(sqlite_url: str, tmp_path: Path, value: str) -> None:
    """A source of which no time can be used is not reported as empty or stale."""
    create(sqlite_url)
    insert(sqlite_url, CUSTOMERS, updated_at=value)
    with pytest.raises(PipelineError, match=r"customers\.updated_at .*in the row with id=1"):
        check_source_freshness(StepContext(RunDirectory(tmp_path), DAY, sqlite_url))


def test_infinite_times_do_not_break_freshness(postgres_url: str, tmp_path: Path) -> None:
    """Freshness names the row of -infinity where no other row is older than the interval's end."""
    create(postgres_url)
    insert(postgres_url, CUSTOMERS, updated_at="'-infinity'")
    with pytest.raises(PipelineError, match=r"customers\.updated_at is infinite"):
        check_source_freshness(StepContext(RunDirectory(tmp_path), DAY, postgres_url))


def test_hidden_rows_are_refused(postgres_url: str, tmp_path: Path) -> None:
    """A row-level security policy, which hides rows silently, is refused by its table."""
    create(postgres_url)
    insert(postgres_url, ORDERS)
    execute(
        postgres_url,
        "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON orders USING (id > 1)",
        "DROP ROLE IF EXISTS limited",
        "CREATE ROLE limited LOGIN PASSWORD 'Secret'",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO limited",
    )
    parts = urlsplit(postgres_url)
    url = f"postgresql://limited:Secret@{parts.hostname}:{parts.port}{parts.path}"
    error = failure(url, tmp_path, ORDERS)
    assert 'row-level security policy for table "orders"' in error.message
    assert 'ALTER ROLE "limited" BYPASSRLS' in error.hint
    with pytest.raises(PipelineError, match='row-level security policy for table "orders"'):
        check_source_freshness(StepContext(RunDirectory(tmp_path), DAY, url))
    execute(postgres_url, 'ALTER ROLE "limited" BYPASSRLS')
    context = StepContext(RunDirectory(tmp_path / "run"), DAY, url)
    assert extract_table(context, ORDERS).rows == {"orders": 1}
