"""Opening the warehouse, and transactions on it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.dbt_runner.manifest import project_folder
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import warehouse
from ecommerce_pipeline.storage.duckdb_connection import CONFIG
from ecommerce_pipeline.storage.published import open_published
from pipeline_verification import compare
from pipeline_verification.harness.control import fill_source
from support import small_warehouse

HOLD = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1])
print("held", flush=True)
sys.stdin.readline()
connection.close()
"""


@contextmanager
def another_process_has_it_open(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has the file open until its input gets a line."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    """What a block did before it raised is rolled back, and the error gets through."""
    with warehouse.connect(tmp_path / "warehouse.duckdb") as connection:
        connection.execute("CREATE TABLE numbers (number INTEGER)")
        with pytest.raises(ValueError, match="half-way"), warehouse.transaction(connection):  # noqa: PT012
            connection.execute("INSERT INTO numbers VALUES (1)")
            raise ValueError("half-way")
        with warehouse.transaction(connection):
            connection.execute("INSERT INTO numbers VALUES (2)")
        assert connection.execute("FROM numbers").fetchall() == [(2,)]


def test_times_are_read_in_utc(tmp_path: Path) -> None:
    """The session's time zone is UTC, whatever the machine's is."""
    with warehouse.connect(tmp_path / "warehouse.duckdb") as connection:
        assert connection.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]


def test_a_locked_warehouse_is_refused_after_the_wait(tmp_path: Path) -> None:
    """A lock that is not released in time is reported with the process that has it."""
    path = tmp_path / "warehouse.duckdb"
    with another_process_has_it_open(path) as process:
        opening = warehouse.connect(path, wait_seconds=0.2)
        with pytest.raises(PipelineError, match="is locked by process") as caught, opening:
            pass
    assert str(process.pid) in caught.value.message
    assert caught.value.retryable


def test_a_locked_warehouse_is_waited_for(tmp_path: Path) -> None:
    """While another process has the file open, opening waits until it is closed."""
    path = tmp_path / "warehouse.duckdb"
    with another_process_has_it_open(path) as process:
        release = threading.Timer(0.5, process.kill)
        release.start()
        with warehouse.connect(path, wait_seconds=60):
            assert process.wait() != 0
        release.join()


@pytest.fixture
def sqlite_warehouse(tmp_path: Path) -> Path:
    """A SQLite database where the warehouse should be."""
    path = tmp_path / "warehouse.duckdb"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    return path


@pytest.mark.parametrize("read_only", [False, True])
def test_a_sqlite_file_is_refused(sqlite_warehouse: Path, read_only: bool) -> None:
    """A SQLite file in the warehouse's place is refused as such, and left as it is."""
    before = sqlite_warehouse.read_bytes()
    opening = warehouse.connect(sqlite_warehouse, read_only=read_only)
    with (
        pytest.raises(
            PipelineError, match=r"warehouse\.duckdb is a SQLite database, not .* move it away"
        ) as caught,
        opening,
    ):
        pass
    assert not caught.value.retryable
    assert sqlite_warehouse.read_bytes() == before


@pytest.mark.parametrize(
    "step", ["load_raw", "dbt_run_staging", "dbt_snapshot", "validate_output", "publish"]
)
def test_every_step_refuses_a_sqlite_file(sqlite_warehouse: Path, step: str) -> None:
    """Each step that opens the warehouse refuses the file before it does anything else."""
    run = RunDirectory(sqlite_warehouse.parent)
    context = StepContext(run, DataInterval.parse("2025-01-01"), "sqlite://")
    url = f"sqlite:///{run.source_file}"
    if step == "load_raw":
        fill_source(url, load_dataset("synthetic"), "2025-01-01")
        context = replace(context, source_url=url)
        for table in TABLES:
            steps.resolve(f"extract_{table.name}")(context)
    with pytest.raises(PipelineError, match="is a SQLite database"):
        steps.resolve(step)(context)


def extension_settings(connection: duckdb.DuckDBPyConnection) -> tuple[bool, bool]:
    """Whether DuckDB installs, and whether it loads, an extension by itself."""
    [row] = connection.execute(
        "SELECT current_setting('autoinstall_known_extensions'),"
        " current_setting('autoload_known_extensions')"
    ).fetchall()
    return row


def test_no_connection_takes_an_extension(tmp_path: Path) -> None:
    """The warehouse, the published copy and dbt neither download nor load an extension."""
    with warehouse.connect(tmp_path / "warehouse.duckdb") as connection:
        assert extension_settings(connection) == (False, False)
    run = RunDirectory(small_warehouse.publish_sample(tmp_path / "run"))
    with open_published(run) as copy:
        assert extension_settings(copy.connection) == (False, False)
    profile = (project_folder() / "profiles.yml").read_text()
    assert all(
        f"        {name}: {str(value).lower()}\n" in profile for name, value in CONFIG.items()
    )


def test_a_published_sqlite_file_is_no_reason_to_download(tmp_path: Path) -> None:
    """Comparing a SQLite file says that it is no DuckDB database."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    with pytest.raises(duckdb.Error, match="not a valid DuckDB database file"):
        compare.table_names(path)


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon", "1e9"])
def test_a_lock_wait_that_is_no_number_of_seconds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A malformed PIPELINE_LOCK_WAIT_SECONDS is named with its value; no wait is without end."""
    monkeypatch.setenv("PIPELINE_LOCK_WAIT_SECONDS", text)
    expected = f"PIPELINE_LOCK_WAIT_SECONDS='{text}' is not a number of seconds"
    with pytest.raises(PipelineError, match=expected), warehouse.connect(tmp_path / "w.duckdb"):
        pass
