"""Loading does not depend on the order, the number or the cut of the intervals."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import PAGE_VIEWS, TABLES
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import DataInterval, days, parse_day
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage.landing import FileDigest, Sidecar, key_schema, write_sidecar
from pipeline_verification.harness.control import advance_source, fill_source

DAYS = list(days(parse_day("2025-01-01"), 3))
START = DAYS[0].start
Rows = dict[str, list[tuple[Any, ...]]]
Version = tuple[str, int | None, str | None, int]
HOUR = timedelta(hours=1)


def halves(interval: DataInterval) -> list[DataInterval]:
    middle = interval.start + timedelta(hours=11)
    return [DataInterval(interval.start, middle), DataInterval(middle, interval.end)]


def context(folder: Path, interval: DataInterval) -> StepContext:
    return StepContext(
        run=RunDirectory(folder), interval=interval, source_url=f"sqlite:///{folder}/source.db"
    )


@pytest.fixture(scope="module")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days, each extracted whole and in halves while the source stood at its end."""
    folder = tmp_path_factory.mktemp("landed")
    url, dataset = f"sqlite:///{folder}/source.db", load_dataset("synthetic")
    fill_source(url, dataset, "2025-01-01")
    for interval in DAYS:
        advance_source(url, dataset, interval.label)
        for part in (interval, *halves(interval)):
            for table in TABLES:
                steps.resolve(f"extract_{table.name}")(context(folder, part))
    return folder


@contextmanager
def fresh_warehouse(landed: Path) -> Iterator[Path]:
    """A run folder with the same landing files and no warehouse yet."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "landing").symlink_to(landed / "landing")
        yield folder


def load(folder: Path, intervals: Sequence[DataInterval]) -> Rows:
    """Load the intervals in this order; every row of raw but the note of what was loaded."""
    for interval in intervals:
        steps.resolve("load_raw")(context(folder, interval))
    names = [f"{kind}{table.name}" for table in TABLES for kind in ("", "deleted_")]
    with duckdb.connect(str(RunDirectory(folder).warehouse), read_only=True) as connection:
        return {
            name: connection.execute(f'SELECT * FROM raw."{name}" ORDER BY ALL').fetchall()
            for name in names
        }


@pytest.fixture(scope="module")
def expected(landed: Path) -> Rows:
    with fresh_warehouse(landed) as folder:
        return load(folder, DAYS)


@st.composite
def loads(draw: st.DrawFn) -> list[DataInterval]:
    """Each day whole or in halves, some parts twice, in any order."""
    parts = [part for day in DAYS for part in draw(st.sampled_from([[day], halves(day)]))]
    repeated = draw(st.lists(st.sampled_from(parts), max_size=3))
    return draw(st.permutations([*parts, *repeated]))


@settings(max_examples=15)
@given(order=loads())
def test_order_repeats_and_cuts_do_not_matter(
    landed: Path, expected: Rows, order: list[DataInterval]
) -> None:
    """Intervals loaded in any order, repeatedly, or in parts leave equal raw tables."""
    with fresh_warehouse(landed) as folder:
        assert load(folder, order) == expected


def test_a_folder_that_looks_like_a_partition(landed: Path, expected: Rows, tmp_path: Path) -> None:
    """Below folders named key=value, the landed columns of those names are loaded as they are."""
    folder = tmp_path / "country=DE" / "status=delivered" / "id=7"
    folder.mkdir(parents=True)
    shutil.copytree(landed / "landing", folder / "landing")
    assert load(folder, DAYS) == expected


def test_a_later_interval_changes_what_an_earlier_one_brought(expected: Rows) -> None:
    """The three days hold rows that a later day replaced, so that the order could matter."""
    with_changes = {row[0] for row in expected["orders"] if row[7].date() > row[6].date()}
    assert len(with_changes) > 100


VERSIONS = st.tuples(
    st.sampled_from(["a", "b"]),
    st.one_of(st.none(), st.integers(min_value=-3, max_value=3)),
    st.one_of(st.none(), st.sampled_from(["", "x", "y"])),
    st.integers(min_value=0, max_value=2),
)


def write_page_views(folder: Path, hour: int, versions: Sequence[Version]) -> None:
    """Write one landing file per table; only page views have rows."""
    interval = DataInterval(START + timedelta(hours=hour), START + timedelta(hours=hour + 1))
    for table in TABLES:
        rows = [
            {
                "session_id": session,
                "user_id": user,
                "page_url": "/",
                "referrer_url": referrer,
                "duration_seconds": None,
                "viewed_at": START,
                "updated_at": START + timedelta(minutes=minute),
            }
            for session, user, referrer, minute in versions
        ]
        content = rows if table is PAGE_VIEWS else []
        path = RunDirectory(folder).landing_file(table.name, interval)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(content, table.arrow_schema), path)
        keys = path.with_suffix(".keys.parquet")
        landed = pq.read_table(path).select(key_schema(table).names)
        key_count = landed.num_rows
        pq.write_table(landed, keys)
        sidecar = Sidecar(
            table=table.name,
            interval=interval,
            file=FileDigest.of(path, len(content)),
            sums={},
            extracted_at=datetime.now(UTC),
            source_rows=len(content),
            key_snapshot=FileDigest.of(keys, key_count),
        )
        write_sidecar(path, sidecar, table.arrow_schema)


@settings(max_examples=20)
@given(versions=st.lists(VERSIONS, min_size=1, max_size=4), data=st.data())
def test_ties_within_a_file_are_broken_by_content(
    versions: list[Version], data: st.DataObject
) -> None:
    """Of rows with one key and one time, NULLs among them, the same wins in any order."""
    shuffled = data.draw(st.permutations(versions))
    hour = [DataInterval(START, START + HOUR)]
    kept = []
    for rows in (versions, shuffled):
        with tempfile.TemporaryDirectory() as name:
            write_page_views(Path(name), 0, rows)
            with fresh_warehouse(Path(name)) as folder:
                kept.append(load(folder, hour)["page_views"])
    assert kept[0] == kept[1]


@pytest.mark.parametrize("corrected", [("a", 1, "x", 5), ("a", None, None, 5), ("a", 3, "y", 5)])
def test_a_correction_without_a_new_time_wins(tmp_path: Path, corrected: Version) -> None:
    """When an interval is extracted again, its rows replace those with the same updated_at."""
    hour = DataInterval(START, START + HOUR)
    write_page_views(tmp_path, 0, [("a", 2, "xx", 5)])
    load(tmp_path, [hour])
    write_page_views(tmp_path, 0, [corrected])
    ((_, user, _, referrer, *_),) = load(tmp_path, [hour])["page_views"]
    assert (user, referrer) == corrected[1:3]


@settings(max_examples=20)
@given(batches=st.lists(st.lists(VERSIONS, min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_newest_version_of_a_row_wins(batches: list[list[Version]]) -> None:
    """Of all versions of a key, in one file or in several, the one updated last is kept."""
    newest: dict[str, int] = {}
    for session, _, _, minute in (version for versions in batches for version in versions):
        newest[session] = max(minute, newest.get(session, 0))
    with tempfile.TemporaryDirectory() as name:
        hours = []
        for hour, versions in enumerate(batches):
            write_page_views(Path(name), hour, versions)
            hours.append(DataInterval(START + hour * HOUR, START + (hour + 1) * HOUR))
        with fresh_warehouse(Path(name)) as folder:
            rows = load(folder, hours)["page_views"]
    assert {row[0]: row[-1] for row in rows} == {
        session: START + timedelta(minutes=minute) for session, minute in newest.items()
    }


def test_a_newer_row_wins_over_a_greater_one(tmp_path: Path) -> None:
    """A row that was updated later is kept though an older version has the greater content."""
    newer, older = ("a", 1, "x", 2), ("a", 3, "y", 1)
    for hour, version in enumerate((newer, older)):
        write_page_views(tmp_path, hour, [version])
    hours = [DataInterval(START + n * HOUR, START + (n + 1) * HOUR) for n in range(2)]
    for order in (hours, hours[::-1]):
        with fresh_warehouse(tmp_path) as folder:
            ((_, user, _, referrer, _, _, updated_at),) = load(folder, order)["page_views"]
        assert (user, referrer, updated_at) == (1, "x", START + timedelta(minutes=2))


def test_an_interval_that_is_loaded_again_is_noted_once(tmp_path: Path) -> None:
    """Each table has one note for each interval, with the rows of the latest load."""
    interval = DataInterval(START, START + HOUR)
    for versions in ([("a", 1, "x", 1)], [("a", 1, "x", 1), ("b", 1, "x", 1)]):
        write_page_views(tmp_path, 0, versions)
        load(tmp_path, [interval])
    with duckdb.connect(str(RunDirectory(tmp_path).warehouse), read_only=True) as connection:
        noted = connection.execute(
            "SELECT table_name, row_count FROM raw.loaded_intervals ORDER BY ALL"
        ).fetchall()
    expected = {table.name: 2 if table is PAGE_VIEWS else 0 for table in TABLES}
    assert noted == sorted(expected.items())
