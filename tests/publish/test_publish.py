"""The published copy: whole, exact, replaced atomically, kept on failure."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pyarrow.parquet as pq
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.publish import publish
from ecommerce_pipeline.storage.published import DATABASE, Manifest, open_published, resolve
from pipeline_verification import compare
from pipeline_verification.checks import published_parquet
from support import crash_points, small_warehouse

CHILD = """
import resource, sys
from pathlib import Path
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.steps.publish import publish
from ecommerce_pipeline.run_directory import RunDirectory
run, interval, limit = sys.argv[1:]
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
publish(StepContext(RunDirectory(Path(run)), DataInterval.parse(interval), "sqlite://"))
"""


@pytest.fixture
def context(tmp_path: Path) -> StepContext:
    """A run whose warehouse holds the small sample."""
    run = RunDirectory(tmp_path / "it's a [run]")
    small_warehouse.create(run.warehouse)
    return StepContext(run, small_warehouse.INTERVAL, "sqlite://")


def in_a_child(
    context: StepContext, *, crash_at: str = "", file_size_limit: int = 0
) -> subprocess.CompletedProcess[str]:
    """Publish in another process, which may be killed or run out of disk space."""
    arguments = [str(context.run.path), str(context.interval), str(file_size_limit)]
    return subprocess.run(
        [sys.executable, "-c", CHILD, *arguments],
        env={**os.environ, **crash_points.environment(crash_at)},
        capture_output=True,
        text=True,
        check=False,
    )


def change(context: StepContext, statement: str) -> None:
    """Change the private warehouse."""
    with duckdb.connect(context.run.warehouse) as connection:
        connection.execute(statement)


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def versions(context: StepContext) -> list[str]:
    """What lies below ``.published/``, the lock left out."""
    return sorted({p.name for p in context.run.published_versions.iterdir()} - {".lock"})


def test_the_duckdb_copy_equals_the_marts_and_the_snapshot(context: StepContext) -> None:
    """Every table of marts and snapshots is in the DuckDB copy with the same types and rows."""
    publish(context)
    differences = compare.compare(context.run.warehouse, context.run.published / "warehouse.duckdb")
    assert [str(d).split(" only")[0] for d in differences] == ["raw.loaded_intervals:"]


def test_parquet_keeps_decimals_and_utc(context: StepContext) -> None:
    """Parquet holds money as decimals, times in UTC, and NULL apart from empty text."""
    publish(context)
    orders = pq.read_table(context.run.published / "marts/fct_orders.parquet")
    assert str(orders.schema.field("total").type) == "decimal128(14, 2)"
    assert str(orders.schema.field("updated_at").type) == "timestamp[us, tz=UTC]"
    assert orders.column("total").to_pylist()[0] == Decimal("1200.10")
    assert orders.column("updated_at").to_pylist()[3] == small_warehouse.moment(3, 22, 14, 30)
    views = pq.read_table(context.run.published / "marts/fct_page_views.parquet")
    assert views.column("referrer_url").to_pylist() == [None, ""]
    customers = pq.read_table(context.run.published / "marts/dim_customers.parquet")
    assert customers.column("name").to_pylist()[0] == small_warehouse.NASTY_NAME


def test_the_result_and_the_manifest_count_the_rows(context: StepContext) -> None:
    """The step's result and the manifest name every table with its rows."""
    result = publish(context)
    assert result.rows == {
        "daily_revenue_by_category": 3,
        "dim_customers": 3,
        "dim_products": 1,
        "fct_orders": 4,
        "fct_page_views": 2,
        "snap_customers": 2,
    }
    manifest = json.loads((context.run.published / "manifest.json").read_text())
    assert manifest["interval"] == "2025-01-03T00:00:00Z/2025-01-04T00:00:00Z"
    assert {name: table["rows"] for name, table in manifest["tables"].items()} == {
        ("snapshots." if name == "snap_customers" else "marts.") + name: rows
        for name, rows in result.rows.items()
    }


def test_the_newest_interval_is_the_latest_loaded(context: StepContext) -> None:
    """Publishing an older interval again still names the newest interval in the data."""
    days = [DataInterval.for_day(date(2025, 1, day)) for day in (3, 5, 4)]
    small_warehouse.create(context.run.warehouse, intervals=days)
    publish(context)
    manifest = Manifest.read(context.run.published)
    assert (manifest.interval, manifest.newest_interval) == (days[0], days[1])


def test_the_manifest_is_deterministic(context: StepContext) -> None:
    """Equal tables give an equal manifest, whatever the order of their rows."""
    publish(context)
    first = (context.run.published / "manifest.json").read_bytes()
    turned = {name: rows[::-1] for name, rows in small_warehouse.ROWS.items()}
    small_warehouse.create(context.run.warehouse, turned)
    publish(context)
    assert (context.run.published / "manifest.json").read_bytes() == first


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE marts.fct_orders SET total = total + 0.01 WHERE order_id = 4",
        "UPDATE marts.fct_page_views SET referrer_url = NULL",
        "ALTER TABLE marts.fct_orders ALTER total TYPE DECIMAL(15,2)",
        "ALTER TABLE marts.fct_orders RENAME item_count TO items",
        "INSERT INTO marts.dim_products FROM marts.dim_products",
    ],
)
def test_the_manifest_tells_every_change(context: StepContext, statement: str) -> None:
    """A changed value, type, column name or duplicate changes the manifest."""
    publish(context)
    first = (context.run.published / "manifest.json").read_bytes()
    change(context, statement)
    publish(context)
    assert (context.run.published / "manifest.json").read_bytes() != first


def publish_often(context: StepContext, times: int) -> None:
    for _ in range(times):
        publish(context)


def replaced_before(context: StepContext, version: str, hours: float) -> None:
    """Set when a version was replaced to so many hours before now."""
    moment = time.time() - hours * 3600
    os.utime(context.run.published_versions / version, (moment, moment))


def test_a_version_is_kept_for_a_day_after_its_replacement(context: StepContext) -> None:
    """A version goes once it was replaced 24 hours ago; the one before the current always stays."""
    publish_often(context, 5)
    assert versions(context) == ["000001", "000002", "000003", "000004", "000005"]
    assert context.run.published.readlink() == Path(".published/000005")
    for version, hours in (("000001", 24.1), ("000002", 23.9), ("000003", 100), ("000005", 100)):
        replaced_before(context, version, hours)
    publish(context)
    assert versions(context) == ["000002", "000004", "000005", "000006"]


def test_an_old_version_counts_from_its_replacement(context: StepContext) -> None:
    """A version that was current for a week is kept for a day after it was replaced."""
    publish(context)
    replaced_before(context, "000001", 7 * 24)
    publish_often(context, 3)
    assert "000001" in versions(context)


@pytest.mark.parametrize(
    ("hours", "kept"),
    [("0", ["000003", "000004"]), ("0.5", ["000002", "000003", "000004"])],
)
def test_how_long_versions_are_kept_can_be_set(
    context: StepContext, monkeypatch: pytest.MonkeyPatch, hours: str, kept: list[str]
) -> None:
    """PIPELINE_PUBLISHED_KEEP_HOURS is the time; with 0 the current and the previous stay."""
    monkeypatch.setenv("PIPELINE_PUBLISHED_KEEP_HOURS", hours)
    publish_often(context, 3)
    if "000001" in versions(context):
        replaced_before(context, "000001", 0.6)
    publish(context)
    assert versions(context) == kept


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "a day", ""])
def test_a_time_that_is_none_is_refused(
    context: StepContext, monkeypatch: pytest.MonkeyPatch, hours: str
) -> None:
    """A value that is no number of hours is refused by name, and nothing is published."""
    monkeypatch.setenv("PIPELINE_PUBLISHED_KEEP_HOURS", hours)
    with pytest.raises(PipelineError, match=f"PIPELINE_PUBLISHED_KEEP_HOURS={hours!r} is not"):
        publish(context)
    assert not context.run.published.exists()


def test_a_full_disk_does_not_keep_expired_versions(context: StepContext) -> None:
    """Expired versions go before a publication that may fail for want of their space."""
    publish_often(context, 3)
    replaced_before(context, "000001", 25)
    assert in_a_child(context, file_size_limit=600).returncode == 1
    assert versions(context) == ["000002", "000003"]


def test_versions_make_room_for_the_next(
    context: StepContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two more copies do not fit on the disk, the oldest versions go before their time."""
    publish_often(context, 5)
    sizes = [len(content) for content in files(context.run.published).values()]
    free = iter([2 * sum(sizes) - 1, 2 * sum(sizes)])
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=next(free)))
    publish(context)
    assert versions(context) == ["000002", "000003", "000004", "000005", "000006"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    publish(context)
    assert versions(context) == ["000005", "000006", "000007"]


def test_a_reader_of_a_resolved_version_keeps_its_files(context: StepContext) -> None:
    """Who resolves the link once reads every file of that version, after many publications."""
    publish(context)
    version = resolve(context.run)
    before = files(version)
    for _ in range(3):
        change(context, "DELETE FROM marts.fct_orders WHERE order_id = 1")
        publish(context)
    assert resolve(context.run).name == "000004"
    assert files(version) == before


def test_nothing_published_is_not_resolved(context: StepContext) -> None:
    """Without a published copy, or where the link leads nowhere, there is no version to resolve."""
    for _ in range(2):
        with pytest.raises(PipelineError, match=r"nothing is published in .*; run the step publ"):
            resolve(context.run)
        context.run.published.unlink(missing_ok=True)
        context.run.published.symlink_to(".published/000001")


def test_a_run_folder_can_be_moved(context: StepContext, tmp_path: Path) -> None:
    """The link is relative, so that it still leads to the copy in a moved run folder."""
    publish(context)
    moved = context.run.path.rename(tmp_path / "elsewhere")
    with open_published(RunDirectory(moved)) as copy:
        assert copy.connection.table("marts.fct_orders").shape == (4, 10)


def test_a_run_folder_behind_a_link_keeps_its_previous_version(
    context: StepContext, tmp_path: Path
) -> None:
    """The version before is kept also where the run folder is reached through a link."""
    (tmp_path / "link").symlink_to(context.run.path)
    linked = StepContext(RunDirectory(tmp_path / "link"), context.interval, "sqlite://")
    publish(linked)
    publish(linked)
    assert versions(context) == ["000001", "000002"]


def test_dbt_leftovers_are_not_published(context: StepContext) -> None:
    """A relation that a killed dbt left half-made stays private."""
    change(context, "CREATE TABLE marts.fct_orders__dbt_tmp AS FROM marts.fct_orders")
    assert "fct_orders__dbt_tmp" not in publish(context).rows


@contextmanager
def an_open_reader(context: StepContext) -> Iterator[Callable[[], int]]:
    """Keep the published DuckDB file open, as a notebook does."""
    path = context.run.published / "warehouse.duckdb"
    with duckdb.connect(path, read_only=True) as connection:
        yield lambda: connection.sql("SELECT count(*) FROM marts.fct_orders").fetchall()[0][0]


def test_a_reader_keeps_its_version_and_blocks_nobody(context: StepContext) -> None:
    """A reader who has the copy open neither blocks a publication nor sees it happen."""
    publish(context)
    with an_open_reader(context) as count:
        change(context, "DELETE FROM marts.fct_orders WHERE order_id = 1")
        publish(context)
        assert count() == 4
    with an_open_reader(context) as count:
        assert count() == 3


def test_readers_never_see_half(context: StepContext) -> None:
    """While versions replace each other, each reading finds all tables of one version."""
    publish(context)
    done = threading.Event()
    seen: set[tuple[int, int]] = set()

    def read() -> None:
        while not done.is_set():
            with open_published(context.run) as copy:
                orders, customers = copy.connection.sql(
                    "SELECT (SELECT count(*) FROM marts.fct_orders),"
                    " (SELECT count(*) FROM marts.dim_customers)"
                ).fetchall()[0]
            seen.add((orders, customers))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            change(context, "INSERT INTO marts.fct_orders FROM marts.fct_orders LIMIT 1")
            change(context, "INSERT INTO marts.dim_customers FROM marts.dim_customers LIMIT 1")
            publish(context)
    finally:
        done.set()
        reader.join()
    assert seen <= {(4, 3), (5, 4), (6, 5), (7, 6)}


def test_an_open_copy_stays_one_version(context: StepContext) -> None:
    """What is read of an open copy after the next publication is still the version opened."""
    publish(context)
    with open_published(context.run) as copy:
        change(context, "DELETE FROM marts.fct_orders")
        publish(context)
        rows = copy.connection.sql("SELECT count(*) FROM marts.fct_orders").fetchall()
    assert rows == [(4,)]


def test_a_folder_that_looks_like_a_pattern(context: StepContext, tmp_path: Path) -> None:
    """A run in a folder named with a star has none of the rows of a folder that matches it."""
    runs = [RunDirectory(tmp_path / name) for name in ("run-2", "run*")]
    for run in runs:
        small_warehouse.create(run.warehouse)
        publish(replace(context, run=run))
    with open_published(runs[1]) as copy:
        rows = copy.connection.sql("SELECT count(*) FROM marts.fct_orders").fetchall()
    assert rows == [(4,)]


def test_a_folder_that_looks_like_a_partition(context: StepContext, tmp_path: Path) -> None:
    """Below folders named key=value, both forms of the copy keep the columns of those names."""
    run = RunDirectory(tmp_path / "country=DE" / "status=test" / "category=x" / "order_count=9")
    small_warehouse.create(run.warehouse)
    publish(replace(context, run=run))
    assert compare.compare(run.warehouse, run.published / DATABASE, schemas=["marts"]) == []
    assert published_parquet(run) == []
    with open_published(run) as copy:
        rows = copy.connection.sql("SELECT status FROM marts.fct_orders ORDER BY order_id")
        assert rows.fetchall() == [("delivered",), ("shipped",), ("cancelled",), ("pending",)]


def test_a_half_built_version_is_not_taken_up(context: StepContext) -> None:
    """What a publication that was killed while it wrote left behind is in no later version."""
    leftover = context.run.published_versions / ".building" / "marts" / "half.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"PAR1")
    publish(context)
    assert "marts/half.parquet" not in files(context.run.published)
    assert versions(context) == ["000001"]


def test_publications_at_once_take_turns(context: StepContext) -> None:
    """Several publications at once all succeed, and the last leaves a whole copy."""
    children = [threading.Thread(target=in_a_child, args=[context]) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert versions(context) == ["000001", "000002", "000003"]
    assert Manifest.read(context.run.published).tables["marts.fct_orders"].rows == 4


@pytest.mark.parametrize("moment", ["before_rename", "after_rename"])
def test_a_killed_publication_is_made_good(context: StepContext, moment: str) -> None:
    """SIGKILL at either side of the rename leaves a whole copy; the next run clears the rest."""
    publish(context)
    change(context, "DELETE FROM marts.fct_orders WHERE order_id = 1")
    assert in_a_child(context, crash_at=f"publish:{moment}").returncode == -9
    expected = 4 if moment == "before_rename" else 3
    assert Manifest.read(context.run.published).tables["marts.fct_orders"].rows == expected

    publish(context)
    assert Manifest.read(context.run.published).tables["marts.fct_orders"].rows == 3
    assert versions(context) == ["000001", "000002", "000003"]
    assert not list(context.run.path.glob(".published.*"))


@pytest.mark.parametrize(
    ("limit", "refused"), [(600, "marts"), (20_000, "warehouse.duckdb"), (10_000_000, "")]
)
def test_a_full_disk_leaves_the_copy_as_it_was(
    context: StepContext, limit: int, refused: str
) -> None:
    """Where the disk refuses a Parquet or the DuckDB file, the previous copy stays as it was."""
    publish(context)
    before = files(context.run.published)
    change(context, "UPDATE marts.dim_products SET price = price + 1")
    child = in_a_child(context, file_size_limit=limit)
    if refused:
        assert "published could not be replaced and is as it was" in child.stderr
        assert f".building/{refused}" in child.stderr
        assert files(context.run.published) == before
        assert versions(context) == ["000001"]
    else:
        assert child.returncode == 0
        assert files(context.run.published) != before


def test_a_real_folder_is_never_removed(context: StepContext) -> None:
    """A folder where the link should be is refused by name and left alone."""
    context.run.published.mkdir()
    (context.run.published / "mine.txt").write_text("keep")
    with pytest.raises(PipelineError, match=r"published is not the link .* but a folder"):
        publish(context)
    assert files(context.run.published) == {"mine.txt": b"keep"}


def test_a_type_that_parquet_lacks_is_refused(context: StepContext) -> None:
    """A column that Parquet cannot store exactly stops the publication and names the table."""
    change(context, "ALTER TABLE marts.dim_products ALTER product_id TYPE HUGEINT")
    with pytest.raises(PipelineError, match=r"marts\.dim_products reads back .* not HUGEINT"):
        publish(context)
    assert not context.run.published.exists()


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DROP TABLE raw.loaded_intervals", "holds no data interval; run the step load_raw"),
        ("DELETE FROM raw.loaded_intervals", "holds no data interval; run the step load_raw"),
        ("DROP SCHEMA marts CASCADE", "no table in the schema marts; run the step dbt_run_marts"),
    ],
)
def test_an_unready_warehouse_is_refused(
    context: StepContext, statement: str, message: str
) -> None:
    """A warehouse without loaded intervals or marts is refused, with the step to run first."""
    change(context, statement)
    with pytest.raises(PipelineError, match=message):
        publish(context)


def test_a_missing_warehouse_is_refused(tmp_path: Path) -> None:
    """A run without a warehouse is refused by name."""
    run = RunDirectory(tmp_path)
    with pytest.raises(PipelineError, match=r"warehouse\.duckdb cannot be opened"):
        publish(StepContext(run, small_warehouse.INTERVAL, "sqlite://"))


def test_an_unpublished_or_damaged_copy_is_named(context: StepContext) -> None:
    """Opening nothing, or a copy whose file is gone or torn, says so in one line."""
    with pytest.raises(PipelineError, match="nothing is published in"), open_published(context.run):
        pass
    publish(context)
    manifest = context.run.published / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text('{"interval":')
    with pytest.raises(PipelineError, match="is damaged"), open_published(context.run):
        pass


def test_a_dangling_link_is_replaced(context: StepContext) -> None:
    """A link whose version somebody removed is replaced by a new one."""
    publish(context)
    shutil.rmtree(context.run.published_versions)
    publish(context)
    assert Manifest.read(context.run.published).tables["marts.fct_orders"].rows == 4


def test_the_copy_is_for_reading_only(context: StepContext) -> None:
    """The files of a version carry no write permission, so that nobody changes them by mistake."""
    publish(context)
    modes = {p.stat().st_mode & 0o777 for p in context.run.published.rglob("*") if p.is_file()}
    assert modes == {0o400}  # and for its user alone


def test_times_of_the_manifest_are_utc(context: StepContext) -> None:
    """The manifest's intervals are in UTC, also where the machine's zone is another."""
    publish(context)
    newest = Manifest.read(context.run.published).newest_interval
    assert newest == small_warehouse.INTERVAL
    assert newest.end.utcoffset() == timedelta(0)


def test_readers_see_times_in_utc(context: StepContext) -> None:
    """Times of the published copy are read in UTC, whatever the machine's time zone is."""
    publish(context)
    with open_published(context.run) as copy:
        assert copy.connection.execute("SELECT current_setting('TimeZone')").fetchall() == [
            ("UTC",)
        ]
