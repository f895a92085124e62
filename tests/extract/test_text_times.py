"""Times as ISO 8601 text in a SQLite source are the same times as integers of microseconds."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, PAGE_VIEWS, TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source import connect
from ecommerce_pipeline.source.sqlite_times import parse
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.steps.freshness import check_source_freshness
from support.foreign_source import create, execute, insert

DAY = DataInterval.parse("2025-01-02")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The same moments, in the order of time; as text they sort otherwise.
TEXTS = {
    "2025-01-01T23:59:59.999999Z": datetime(2025, 1, 1, 23, 59, 59, 999999, UTC),
    "2025-01-02T00:00:00Z": datetime(2025, 1, 2, tzinfo=UTC),
    "2025-01-02 00:00:00.000001": datetime(2025, 1, 2, 0, 0, 0, 1, UTC),
    "2025-01-01T20:00:00-05:00": datetime(2025, 1, 2, 1, tzinfo=UTC),
    "2025-01-03T00:30:00+14:00": datetime(2025, 1, 2, 10, 30, tzinfo=UTC),
    "2025-01-02 12:00:00": datetime(2025, 1, 2, 12, tzinfo=UTC),
    "2025-01-02T12:00:00.25": datetime(2025, 1, 2, 12, 0, 0, 250_000, UTC),
    "2025-01-02T12:00:01+00": datetime(2025, 1, 2, 12, 0, 1, tzinfo=UTC),
    "2025-01-02 18:30:00.5+0545": datetime(2025, 1, 2, 12, 45, 0, 500_000, UTC),
    "2025-01-02T13:00Z": datetime(2025, 1, 2, 13, tzinfo=UTC),
    "2025-01-02 23:59:59,999999": datetime(2025, 1, 2, 23, 59, 59, 999999, UTC),
    "2025-01-01T23:59:00-23:59": datetime(2025, 1, 2, 23, 58, tzinfo=UTC),
    "2025-01-03 00:00:00": datetime(2025, 1, 3, tzinfo=UTC),
}


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def extract(url: str, folder: Path, table: Table = CUSTOMERS) -> bytes:
    """The bytes of the day's landing file."""
    context = StepContext(RunDirectory(folder), DAY, url)
    extract_table(context, table)
    return context.run.landing_file(table.name, DAY).read_bytes()


@pytest.mark.parametrize("declared", ["TEXT", "VARCHAR(40)", "DATETIME", "timestamp"])
def test_text_gives_the_file_that_integers_give(tmp_path: Path, declared: str) -> None:
    """The day's rows, their order and their microseconds are those of the integer form."""
    text, integer = url_of(tmp_path / "text.db"), url_of(tmp_path / "integer.db")
    create(text, time_type=declared)
    create(integer)
    for table in TABLES:
        for number, (value, moment) in enumerate(TEXTS.items()):
            microseconds = (moment - EPOCH) // timedelta(microseconds=1)
            key = f"'{90 - number}'" if table is PAGE_VIEWS else str(90 - number)
            insert(text, table, noon=f"'{value}'", **{table.key[0]: key})
            insert(integer, table, noon=str(microseconds), **{table.key[0]: key})
        found = extract(text, tmp_path / "text", table)
        assert found == extract(integer, tmp_path / "integer", table)
    rows = pq.read_table(RunDirectory(tmp_path / "text").landing_file("customers", DAY))
    expected = sorted(moment for moment in TEXTS.values() if moment in DAY)
    assert rows["updated_at"].to_pylist() == expected


def test_freshness_compares_times_and_not_text(tmp_path: Path) -> None:
    """The newest row before the interval's end is the latest in time, whatever its offset."""
    url = url_of(tmp_path / "shop.db")
    create(url, time_type="TEXT")
    for key, value in enumerate(TEXTS):
        insert(url, CUSTOMERS, id=str(key), updated_at=f"'{value}'")
    with closing(connect(url)) as source:
        assert source.newest_update(DAY.end) == DAY.end - timedelta(microseconds=1)
        assert source.newest_update(DAY.start) == DAY.start - timedelta(microseconds=1)
        assert source.newest_update(DAY.start - timedelta(days=1)) is None
        # Far behind: the rows near the moment have none, so all are compared.
        assert source.newest_update(DAY.end + timedelta(days=90)) == DAY.end


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        "",
        "2025-02-30T12:00:00Z",
        "2025-01-02",
        "2025-01-02T25:00:00Z",
        "20250102T120000Z",
        "2025-W01-4T12:00:00Z",
        "2025-01-02T12:00:00 UTC",
        " 2025-01-02T12:00:00Z",
        "02.01.2025 12:00",
        "1735819200000000",
        "0001-01-01T00:00:00+05:00",
        "٢٠٢٥-01-02T12:00:00Z",
    ],
)
@pytest.mark.parametrize("column", ["updated_at", "created_at"])
def test_text_that_is_no_time_is_refused(tmp_path: Path, value: str, column: str) -> None:
    """Text that is no ISO 8601 time is refused by column, value and key."""
    url = url_of(tmp_path / "shop.db")
    create(url, time_type="TEXT")
    insert(url, ORDERS, noon="'2025-01-02T12:00:00Z'")
    insert(url, ORDERS, noon="'2025-01-02T12:00:00Z'", id="7", **{column: f"'{value}'"})
    with pytest.raises(PipelineError) as caught:
        extract(url, tmp_path / "run", ORDERS)
    assert caught.value.message == (
        f"orders.{column} holds {value!r}, not a time in ISO 8601, in the row with id=7"
    )
    assert "2025-01-31T10:00:00Z" in caught.value.hint
    assert list(tmp_path.rglob("*.parquet")) == []


@pytest.mark.parametrize("value", ["1735819200", "1735819200.5", "x'3230'"])
def test_numbers_in_a_text_column_are_refused(tmp_path: Path, value: str) -> None:
    """A number or bytes in a column of text times is refused as it stands."""
    url = url_of(tmp_path / "shop.db")
    create(url, time_type="DATETIME")
    insert(url, ORDERS, noon="'2025-01-02T12:00:00Z'", updated_at=value)
    shown = "b'20'" if value.startswith("x") else value
    with pytest.raises(PipelineError) as caught:
        extract(url, tmp_path / "run", ORDERS)
    assert caught.value.message == (
        f"orders.updated_at holds {shown}, not a time in ISO 8601, in the row with id=1"
    )


def test_one_key_in_two_writings_is_repeated(tmp_path: Path) -> None:
    """Two page views whose times differ as text only are one key, whatever the primary key is."""
    url = url_of(tmp_path / "shop.db")
    create(url, time_type="TEXT")
    execute(url, "CREATE UNIQUE INDEX i ON page_views (session_id, page_url, viewed_at)")
    for value in ("2025-01-02T12:00:00Z", "2025-01-02 13:00:00+01:00"):
        insert(url, PAGE_VIEWS, noon="'2025-01-02T12:00:00Z'", viewed_at=f"'{value}'")
    with pytest.raises(PipelineError, match=r"page_views has the key .* in 2 rows"):
        extract(url, tmp_path / "run", PAGE_VIEWS)


def test_the_forms_may_differ_by_column(tmp_path: Path) -> None:
    """One column may hold text and another one integers."""
    url = url_of(tmp_path / "shop.db")
    create(url, time_type="TEXT")
    execute(
        url,
        "ALTER TABLE orders DROP COLUMN created_at",
        "ALTER TABLE orders ADD COLUMN created_at INTEGER",
        "INSERT INTO orders VALUES (1, 1, 'a', 1, 1, 1, '2025-01-02 12:00:00', 1735819200000001)",
    )
    extract(url, tmp_path / "run", ORDERS)
    (row,) = pq.read_table(RunDirectory(tmp_path / "run").landing_file("orders", DAY)).to_pylist()
    noon = datetime(2025, 1, 2, 12, tzinfo=UTC)
    assert row["updated_at"] == noon
    assert row["created_at"] == noon + timedelta(microseconds=1)


def test_a_source_of_seconds_is_not_called_stale(tmp_path: Path) -> None:
    """Freshness reports the unit of the times rather than the year 1970."""
    url = url_of(tmp_path / "shop.db")
    create(url)
    insert(url, ORDERS, noon="1735819200")
    with pytest.raises(PipelineError, match="seconds since 1970"):
        check_source_freshness(StepContext(RunDirectory(tmp_path), DAY, url))


def test_a_renamed_column_is_not_called_stale(url: str, tmp_path: Path) -> None:
    """Freshness names the table and the column that is missing."""
    create(url)
    execute(url, "ALTER TABLE orders RENAME COLUMN updated_at TO modified_at")
    with pytest.raises(PipelineError, match="table orders has no column updated_at"):
        check_source_freshness(StepContext(RunDirectory(tmp_path), DAY, url))


moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))  # noqa: DTZ001 (naive bounds)
offsets = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timedelta(minutes=minutes))


@given(moments, offsets)
def test_any_time_with_an_offset_is_exact(moment: datetime, offset: timedelta) -> None:
    """A local time and its offset give the microsecond of the moment in UTC."""
    minutes = abs(offset) // timedelta(minutes=1)
    sign = "-" if offset < timedelta(0) else "+"
    text = f"{moment.isoformat(timespec='microseconds')}{sign}{minutes // 60:02}:{minutes % 60:02}"
    expected = (moment.replace(tzinfo=UTC) - EPOCH - offset) // timedelta(microseconds=1)
    assert parse(text) == expected


def test_views_offer_other_forms(tmp_path: Path) -> None:
    """A view that converts seconds to text, or casts them to integers, is a source table."""
    url = url_of(tmp_path / "shop.db")
    create(url)
    insert(url, ORDERS, noon="1735819200")
    names = ", ".join(f'"{c.name}"' for c in ORDERS.columns[:-2])
    execute(url, "ALTER TABLE orders RENAME TO stored_orders")
    execute(
        url,
        f"CREATE VIEW orders AS SELECT {names},"
        " CAST(created_at * 1000000 AS INTEGER) AS created_at,"
        " CAST(strftime('%Y-%m-%dT%H:%M:%SZ', updated_at, 'unixepoch') AS TEXT) AS updated_at"
        " FROM stored_orders",
    )
    extract(url, tmp_path / "run", ORDERS)
    rows = pq.read_table(RunDirectory(tmp_path / "run").landing_file("orders", DAY)).to_pylist()
    noon = datetime(2025, 1, 2, 12, tzinfo=UTC)
    assert [(row["created_at"], row["updated_at"]) for row in rows] == [(noon, noon)]
