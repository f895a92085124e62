"""What a PostgreSQL database that is not as expected leads to."""

from __future__ import annotations

import socket
from contextlib import closing
from datetime import UTC, date, datetime

import psycopg
import pytest

from ecommerce_pipeline.contract import CUSTOMERS, TABLES, ColumnType
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import Source, connect

DAY = DataInterval.for_day(date(2025, 1, 2))
FOREIGN_TABLE = (
    "CREATE TABLE customers (id int, email varchar(80), name text, country text,"
    " created_at timestamptz, updated_at timestamptz)"
)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def add(url: str, *, name: str = "'Ada'", created: str = "now()") -> None:
    execute(
        url, f"INSERT INTO customers VALUES (7, NULL, {name}, '', {created}, '2025-01-02 12:00Z')"
    )


def failure(url: str) -> PipelineError:
    """What reading the customers raises; it never contains the password."""
    with pytest.raises(PipelineError) as caught, closing(connect(url)) as source:
        list(source.read_interval(CUSTOMERS, DAY))
    password = url.partition("@")[0].rpartition(":")[2]
    assert password not in str(caught.value)
    return caught.value


def test_an_unreachable_server_may_be_tried_again() -> None:
    """A refused connection and an unknown host are named, and are retryable."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        error = failure(f"postgresql://ada:Secret@127.0.0.1:{port}/shop")
    assert f"postgresql://ada:***@127.0.0.1:{port}/shop cannot be reached" in error.message
    assert error.retryable
    assert failure("postgresql://ada:Secret@host.invalid/shop").retryable


def test_a_silent_server_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts but never answers is given up after the time-out."""
    monkeypatch.setattr("ecommerce_pipeline.source.postgres._CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(f"postgresql://ada:Secret@127.0.0.1:{silent.getsockname()[1]}/shop")
    assert "timeout" in error.message
    assert error.retryable


def test_refused_credentials_are_final(server_url: str) -> None:
    """A wrong password or database is named as the server names it; no use in trying again."""
    user, _, server = server_url.removeprefix("postgresql://").partition("@")
    wrong_password = failure(f"postgresql://{user.partition(':')[0]}:Secret@{server}")
    assert "password authentication failed" in wrong_password.message
    assert not wrong_password.retryable
    wrong_database = failure(server_url.replace("/postgres", "/nowhere"))
    assert 'database "nowhere" does not exist' in wrong_database.message
    assert not wrong_database.retryable


def test_a_forbidden_table_is_named(postgres_url: str) -> None:
    """A table that the user may not read is named, with a hint."""
    execute(
        postgres_url,
        FOREIGN_TABLE,
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN PASSWORD 'Secret'",
    )
    server = postgres_url.partition("@")[2]
    error = failure(f"postgresql://reader:Secret@{server}")
    assert "permission denied for table customers" in error.message
    assert "grant" in error.hint


def test_a_missing_table_or_column_is_named(postgres_url: str) -> None:
    """The server's own words name what is missing."""
    assert 'relation "customers" does not exist' in failure(postgres_url).message
    execute(postgres_url, FOREIGN_TABLE, "ALTER TABLE customers DROP country")
    assert 'column "country" does not exist' in failure(postgres_url).message


def test_foreign_types_that_fit_are_read(postgres_url: str) -> None:
    """Shorter integers and varchar are read as the contract's types."""
    execute(postgres_url, FOREIGN_TABLE)
    add(postgres_url)
    with closing(connect(postgres_url)) as source:
        columns = source.columns(CUSTOMERS)
        (batch,) = source.read_interval(CUSTOMERS, DAY)
    assert [c.type for c in columns.values()] == [c.type for c in CUSTOMERS.columns]
    assert columns["email"].declared_type == "character varying(80)"
    assert batch.schema == CUSTOMERS.arrow_schema
    assert batch.column("id").to_pylist() == [7]


def test_other_types_are_none(postgres_url: str) -> None:
    """A type that does not fit exactly is reported as None: no zone, or no integer."""
    execute(
        postgres_url,
        "CREATE TABLE customers (id numeric, name char(3), country text, updated_at timestamp)",
    )
    with closing(connect(postgres_url)) as source:
        found = [c.type for c in source.columns(CUSTOMERS).values()]
    assert found == [None, None, ColumnType.TEXT, None]


@pytest.mark.parametrize("created", ["'infinity'", "'-infinity'", "'294276-12-31'"])
def test_an_endless_time_is_refused(postgres_url: str, created: str) -> None:
    """A time that Arrow cannot hold is refused by column."""
    execute(postgres_url, FOREIGN_TABLE)
    add(postgres_url, created=created)
    assert "customers.created_at holds an infinite time" in failure(postgres_url).message


def test_text_that_is_not_utf8_is_refused(server_url: str) -> None:
    """A database without an encoding may hold any bytes; those that are no UTF-8 are refused."""
    execute(
        server_url,
        "DROP DATABASE IF EXISTS bytes",
        "CREATE DATABASE bytes ENCODING 'SQL_ASCII' TEMPLATE template0",
    )
    url = server_url.removesuffix("/postgres") + "/bytes"
    execute(url, FOREIGN_TABLE)
    add(url, name="E'\\377'")
    assert failure(url).message == (
        "customers.name holds b'\\xff', which is not text in UTF-8, in the row with id=7"
    )


def test_an_error_amid_the_rows_is_reported(postgres_url: str) -> None:
    """An error after some rows were sent ends the reading, and the server's reason is given."""
    execute(
        postgres_url,
        FOREIGN_TABLE.replace("customers", "stored"),
        "CREATE VIEW customers AS SELECT 10 / (50000 - id) AS id, email, name, country,"
        " created_at, updated_at FROM stored",
        "INSERT INTO stored SELECT i, '', 'a name', '', now(),"
        " timestamptz '2025-01-02Z' + i * interval '1 millisecond'"
        " FROM generate_series(1, 60000) AS i",
    )
    assert "division by zero" in failure(postgres_url).message


def test_a_lost_connection_may_be_tried_again(postgres_url: str) -> None:
    """When the server ends the session, the next attempt may succeed."""
    with closing(connect(postgres_url)) as source:
        execute(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'ecommerce-pipeline'",
        )
        with pytest.raises(PipelineError) as caught:
            source.newest_update(DAY.end)
    assert caught.value.retryable


def test_a_reading_that_is_broken_off_does_not_hang(postgres_url: str) -> None:
    """A transaction whose reading is given up ends with the reader's own error."""
    execute(
        postgres_url,
        FOREIGN_TABLE,
        "INSERT INTO customers SELECT i, '', 'a name', '', now(), '2025-01-02 12:00Z'"
        " FROM generate_series(1, 60000) AS i",
    )

    def give_up(source: Source) -> None:
        with source.transaction():
            for _ in source.read_interval(CUSTOMERS, DAY):
                raise RuntimeError("enough")

    with closing(connect(postgres_url)) as source, pytest.raises(RuntimeError, match="enough"):
        give_up(source)


@pytest.mark.parametrize("place", ["url", "database", "role", "environment"])
def test_the_date_style_does_not_matter(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Times are read the same under any DateStyle, wherever it is set."""
    execute(postgres_url, *(FOREIGN_TABLE.replace("customers", t.name) for t in TABLES))
    add(postgres_url, created="'2025-01-02 13:00Z'")
    url, user = postgres_url, psycopg.conninfo.conninfo_to_dict(postgres_url)["user"]
    if place == "url":
        url += "?options=-c%20DateStyle%3DGerman"
    elif place == "environment":
        monkeypatch.setenv("PGDATESTYLE", "SQL, DMY")
    elif place == "role":
        execute(postgres_url, f"ALTER ROLE {user} SET DateStyle TO Postgres, MDY")
    else:
        database = postgres_url.rpartition("/")[2]
        execute(postgres_url, f"ALTER DATABASE {database} SET DateStyle TO German")
    try:
        with closing(connect(url)) as source:
            assert source.newest_update(DAY.end) == datetime(2025, 1, 2, 12, tzinfo=UTC)
            (batch,) = source.read_interval(CUSTOMERS, DAY)
    finally:
        execute(postgres_url, f"ALTER ROLE {user} RESET DateStyle")
    assert batch["created_at"].to_pylist() == [datetime(2025, 1, 2, 13, tzinfo=UTC)]


def test_a_locked_table_is_waited_for_only_for_so_long(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that another session keeps locked is given up with a line that says so."""
    monkeypatch.setattr("ecommerce_pipeline.source.postgres._LOCK_WAIT_SECONDS", 1)
    execute(postgres_url, FOREIGN_TABLE)
    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
        error = failure(postgres_url)
    assert "lock timeout" in error.message
    assert "the session that has locked the table" in error.hint
    assert error.retryable
