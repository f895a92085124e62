"""What a run read at a PostgreSQL source, by the server's own counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.interval import DataInterval

WAIT_SECONDS = 30.0
_SCANS_OF_A_RUN = 2  # one for the freshness of the source, one for the extraction
_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
"""
_COUNTERS = """
    SELECT relname, coalesce(seq_scan, 0) + coalesce(idx_scan, 0),
        coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)
    FROM pg_stat_user_tables
"""


@dataclass(frozen=True, slots=True)
class Reads:
    """The number of a table's scans, by index or sequential, and of the rows that they fetched."""

    scans: int
    rows: int

    def __sub__(self, earlier: Reads) -> Reads:
        return Reads(self.scans - earlier.scans, self.rows - earlier.rows)


TableReads = Mapping[str, Reads]


def make_steady(url: str) -> None:
    """Have the same queries read the same rows every time.

    The statistics decide between an index scan and a sequential one, and a vacuum in the background
    changes both the statistics and the counters.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("ANALYZE")


def counted(url: str) -> dict[str, Reads]:
    """The reads of each contract table so far, once no other session is open.

    PostgreSQL may add a session's counts to the totals only when the session ends.

    Raises:
        TimeoutError: another session is still open after ``WAIT_SECONDS``.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        _wait_for_other_sessions(connection)
        found = {name: Reads(*numbers) for name, *numbers in connection.execute(_COUNTERS)}
    return {table.name: found[table.name] for table in TABLES}


def rows_of(url: str, interval: DataInterval) -> dict[str, int]:
    """The number of rows of each contract table that the interval has now."""
    statement = 'SELECT count(*) FROM "{}" WHERE updated_at >= %s AND updated_at < %s'
    ends = [interval.start, interval.end]
    with psycopg.connect(url) as connection:
        return {
            table.name: _number(connection, statement.format(table.name), ends) for table in TABLES
        }


def missing(reads: TableReads, rows: Mapping[str, int], runs: int = 1) -> list[str]:
    """The tables that were read less than runs that extract these rows must read them.

    Args:
        reads: what was read, by table.
        rows: how many rows had to be fetched, by table.
        runs: the number of runs.
    """
    problems = []
    for name, expected in rows.items():
        seen = reads[name]
        if seen.scans < runs * _SCANS_OF_A_RUN or seen.rows < expected:
            problems.append(
                f"{name}: {seen.scans} scans fetched {seen.rows} rows,"
                f" not {runs * _SCANS_OF_A_RUN} or more and {expected}"
            )
    return problems


def _wait_for_other_sessions(connection: psycopg.Connection) -> None:
    def none_is_open() -> bool:
        return _number(connection, _OTHERS) == 0

    if not wait_until(none_is_open, timeout_seconds=WAIT_SECONDS, poll_seconds=0.02):
        others = _number(connection, _OTHERS)
        raise TimeoutError(f"{others} sessions at the source are still open")


def _number(connection: psycopg.Connection, statement: str, values: Sequence[object] = ()) -> int:
    row = connection.execute(statement.encode(), values).fetchone()
    return int(row[0]) if row else 0
