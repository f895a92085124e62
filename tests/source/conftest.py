"""A real PostgreSQL server, and an empty database of each kind for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import psycopg
import pytest

from ecommerce_pipeline.source import Source, connect
from ecommerce_pipeline.source.postgres_server import running_server

_numbers = count()


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server's maintenance database."""
    with running_server(tmp_path_factory.mktemp("server") / "postgres", durable=False) as url:
        yield url


@pytest.fixture
def postgres_url(server_url: str) -> str:
    """A new, empty PostgreSQL database."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server_url.removesuffix("/postgres") + f"/{name}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database of each kind; the SQLite file does not exist yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/source.db"
    postgres: str = request.getfixturevalue("postgres_url")
    return postgres


@pytest.fixture
def source(url: str) -> Iterator[Source]:
    """An open source with the contract's tables, all empty."""
    with closing(connect(url)) as opened:
        opened.create_tables()
        yield opened
