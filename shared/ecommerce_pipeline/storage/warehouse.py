"""Opening the DuckDB warehouse: one process at a time; the others wait."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.storage.duckdb_connection import connect_duckdb

LOCK_WAIT_SECONDS = 60.0
LONGEST_LOCK_WAIT_SECONDS = 86_400.0
LOCK_WAIT_VARIABLE = "PIPELINE_LOCK_WAIT_SECONDS"
_SQLITE = b"SQLite format 3\0"  # how such a file begins
# DuckDB raises the same exception for a locked file and a broken disk; only the message differs.
_LOCK_HOLDER = re.compile(r"held in (?P<program>.*?) \(PID (?P<pid>\d+)\)")


@contextmanager
def connect(
    path: Path, *, read_only: bool = False, wait_seconds: float | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield a connection whose session time zone is UTC, and close it.

    While another process holds the file's lock, wait up to ``wait_seconds`` (default:
    ``PIPELINE_LOCK_WAIT_SECONDS`` of the environment, else 60).

    Raises:
        PipelineError: the variable is malformed, the lock was not released in time, the file is no
            DuckDB database, or the disk refuses to be read or written during the block.
    """
    connection = _open(path, read_only, _wait_seconds() if wait_seconds is None else wait_seconds)
    try:
        # The default is the machine's zone, in which a TIMESTAMPTZ would get another date.
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    except (duckdb.IOException, duckdb.FatalException) as error:
        raise PipelineError(
            f"the warehouse {path} could not be read or written: {error}",
            "free disk space or fix the disk, then run the interval again",
            retryable=True,
        ) from error
    finally:
        connection.close()


@contextmanager
def transaction(connection: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Commit what the block did, or roll all of it back when it raises."""
    connection.begin()
    try:
        yield
    except BaseException:
        with contextlib.suppress(duckdb.Error):  # nothing is left to roll back after a disk error
            connection.rollback()
        raise
    connection.commit()


def _open(path: Path, read_only: bool, wait_seconds: float) -> duckdb.DuckDBPyConnection:
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_sqlite(path)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            return connect_duckdb(path, read_only=read_only)
        except duckdb.IOException as error:
            holder = _LOCK_HOLDER.search(str(error))
            if holder is None:
                raise PipelineError(
                    f"the warehouse {path} cannot be opened: {error}",
                    "check the disk and the file's permissions; rebuild a damaged file with: "
                    f"ecommerce-pipeline rebuild-warehouse {shlex.quote(str(path.parent))}",
                ) from error
            if time.monotonic() >= deadline:
                raise PipelineError(
                    f"the warehouse {path} is locked by process {holder['pid']} "
                    f"({holder['program']}), still after {wait_seconds:g} s",
                    "wait for that process or stop it, then run the interval again",
                    retryable=True,
                ) from error
            time.sleep(0.1)  # DuckDB itself never waits for the lock


def _refuse_sqlite(path: Path) -> None:
    # DuckDB would look for an extension that reads it, and say that it cannot find that one.
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(len(_SQLITE)) == _SQLITE:
            raise PipelineError(
                f"{path} is a SQLite database, not the DuckDB warehouse",
                "move it away, and name it with --source if it is the source",
            )


def _wait_seconds() -> float:
    text = os.environ.get(LOCK_WAIT_VARIABLE) or str(LOCK_WAIT_SECONDS)
    try:
        seconds = float(text)
        # Also refuses NaN, for which no comparison is true, so that the wait would never end.
        if not 0 <= seconds <= LONGEST_LOCK_WAIT_SECONDS:
            raise ValueError(text)
    except ValueError:
        raise PipelineError(
            f"{LOCK_WAIT_VARIABLE}={text!r} is not a number of seconds from 0 to "
            f"{LONGEST_LOCK_WAIT_SECONDS:g}",
            f"set it to one, such as {LOCK_WAIT_SECONDS:g}",
        ) from None
    return seconds
