"""What really reached a PostgreSQL source, by the server's own counters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.interval import DataInterval

PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.02
_SCANS_OF_A_RUN = 2  # one looks how fresh the source is, one extracts
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
    """How often a table was scanned, by index or whole, and how many rows that fetched."""

    scans: int
    rows: int

    def __sub__(self, earlier: Reads) -> Reads:
        return Reads(self.scans - earlier.scans, self.rows - earlier.rows)


TableReads = Mapping[str, Reads]


def make_steady(url: str) -> None:
    """Let the same queries always be answered in the same way: fresh statistics, no vacuum."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("ANALYZE")


def counted(url: str) -> dict[str, Reads]:
    """The reads of each contract table so far, once no other session is open.

    A session hands its counts to the server at its end, or some time before.

    Raises:
        TimeoutError: another session stays open.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        _wait_to_be_alone(connection)
        found = {name: Reads(*numbers) for name, *numbers in connection.execute(_COUNTERS)}
    return {table.name: found[table.name] for table in TABLES}


def rows_of(url: str, interval: DataInterval) -> dict[str, int]:
    """How many rows of each contract table the interval holds now."""
    statement = 'SELECT count(*) FROM "{}" WHERE updated_at >= %s AND updated_at < %s'
    ends = [interval.start, interval.end]
    with psycopg.connect(url) as connection:
        return {
            table.name: _number(connection, statement.format(table.name), ends) for table in TABLES
        }


def missing(reads: TableReads, rows: Mapping[str, int], runs: int = 1) -> list[str]:
    """In what the reads fall short of runs that had to fetch these rows from the source."""
    faults = []
    for name, expected in rows.items():
        seen = reads[name]
        if seen.scans < runs * _SCANS_OF_A_RUN or seen.rows < expected:
            faults.append(
                f"{name}: {seen.scans} scans fetched {seen.rows} rows,"
                f" not {runs * _SCANS_OF_A_RUN} or more and {expected}"
            )
    return faults


def _wait_to_be_alone(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while others := _number(connection, _OTHERS):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{others} sessions at the source are still open")
        time.sleep(_POLL_SECONDS)


def _number(connection: psycopg.Connection, statement: str, values: Sequence[object] = ()) -> int:
    row = connection.execute(statement.encode(), values).fetchone()
    return int(row[0]) if row else 0
