"""What a SQLite file that is not as expected leads to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, ColumnType, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.source import connect

DAY = DataInterval.for_day(date(1970, 1, 1))


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def foreign(path: Path, *, name: str = "'Ada'", country: str = "''", created: str = "0") -> None:
    """A customers table of a foreign database, which takes any value in any column."""
    execute(
        path,
        "CREATE TABLE customers (id BIGINT, email VARCHAR(80), name TEXT, country CHAR(2),"
        " created_at INT, updated_at INT)",
        "INSERT INTO customers VALUES (1, NULL, 'ok', '', 0, 0)",
        f"INSERT INTO customers VALUES (7, NULL, {name}, {country}, {created}, 0)",
    )


def read(path: Path, table: Table = CUSTOMERS) -> list[dict[str, Any]]:
    with closing(connect(f"sqlite:///{path}")) as source:
        return [row for batch in source.read_interval(table, DAY) for row in batch.to_pylist()]


def failure(path: Path, table: Table = CUSTOMERS) -> PipelineError:
    with pytest.raises(PipelineError) as caught:
        read(path, table)
    return caught.value


def test_a_relative_path_starts_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``sqlite:///PATH`` takes the path without decoding it, special characters included."""
    monkeypatch.chdir(tmp_path)
    with closing(connect("sqlite:///a %41?#b/source.db")) as source:
        source.create_tables()
    assert (tmp_path / "a %41?#b" / "source.db").is_file()


def test_a_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    """Reading a file that does not exist fails by its name, and does not create it."""
    error = failure(tmp_path / "none.db")
    assert f"{tmp_path}/none.db does not exist" in error.message
    assert not error.retryable
    assert not (tmp_path / "none.db").exists()


def test_another_file_is_refused(tmp_path: Path) -> None:
    """A file that is no database, and a folder, are refused by name."""
    (tmp_path / "text.db").write_text("no database " * 100)
    assert f"{tmp_path}/text.db: file is not a database" in failure(tmp_path / "text.db").message
    assert f"{tmp_path}: unable to open" in failure(tmp_path).message


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    """A database without the table says which."""
    foreign(tmp_path / "shop.db")
    assert "orders" in failure(tmp_path / "shop.db", ORDERS).message


def test_a_foreign_table_is_read(tmp_path: Path) -> None:
    """A table that others declared is read by SQLite's affinities."""
    foreign(tmp_path / "shop.db")
    with closing(connect(f"sqlite:///{tmp_path}/shop.db")) as source:
        columns = source.columns(CUSTOMERS)
    assert [c.type for c in columns.values()] == [c.type for c in CUSTOMERS.columns]
    assert columns["email"].declared_type == "VARCHAR(80)"
    assert [row["id"] for row in read(tmp_path / "shop.db")] == [1, 7]


def test_an_unknown_type_is_none(tmp_path: Path) -> None:
    """A declared type that the contract does not have is reported as None."""
    execute(
        tmp_path / "shop.db", "CREATE TABLE customers (id REAL, name BLOB, email, country TEXT)"
    )
    with closing(connect(f"sqlite:///{tmp_path}/shop.db")) as source:
        found = [c.type for c in source.columns(CUSTOMERS).values()]
    assert found == [None, None, None, ColumnType.TEXT]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (
            {"created": "'yesterday'"},
            "created_at holds 'yesterday', not an integer of microseconds since 1970",
        ),
        ({"created": "1.5"}, "created_at holds 1.5, not an integer of microseconds since 1970"),
        ({"name": "x'00ff'"}, "name holds b'\\x00\\xff', not text"),
        ({"country": "'a' || char(0) || 'b'"}, "country holds text with a NUL character"),
    ],
)
def test_a_value_that_does_not_fit_is_named(
    tmp_path: Path, values: dict[str, str], what: str
) -> None:
    """A value of another type than its column is refused by column and key."""
    foreign(tmp_path / "shop.db", **values)
    assert failure(tmp_path / "shop.db").message == f"customers.{what}, in the row with id=7"


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """Bytes stored as text that are no UTF-8 are refused by column and key."""
    foreign(tmp_path / "shop.db", name="CAST(x'ff' AS TEXT)")
    assert failure(tmp_path / "shop.db").message == (
        "customers.name holds b'\\xff', which is not text in UTF-8, in the row with id=7"
    )


def test_a_locked_database_may_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where another writer does not finish in time, trying again may help."""
    monkeypatch.setattr("ecommerce_pipeline.source.sqlite._LOCK_WAIT_SECONDS", 0.01)
    foreign(tmp_path / "shop.db")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        error = failure(tmp_path / "shop.db")
    assert "locked" in error.message
    assert error.retryable


def test_a_reader_does_not_wait_for_the_writer(tmp_path: Path) -> None:
    """Our own files are read while another session writes them."""
    url = f"sqlite:///{tmp_path}/shop.db"
    with closing(connect(url)) as source:
        source.create_tables()
        with source.transaction():
            source.set_state({"dataset": "x"})
            assert read(tmp_path / "shop.db") == []
