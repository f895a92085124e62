"""Opening the warehouse, and transactions on it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.storage import warehouse

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


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "soon", "1e9"])
def test_a_lock_wait_that_is_no_number_of_seconds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """A malformed PIPELINE_LOCK_WAIT_SECONDS is named with its value; no wait is without end."""
    monkeypatch.setenv("PIPELINE_LOCK_WAIT_SECONDS", text)
    expected = f"PIPELINE_LOCK_WAIT_SECONDS='{text}' is not a number of seconds"
    with pytest.raises(PipelineError, match=expected), warehouse.connect(tmp_path / "w.duckdb"):
        pass
