"""Source databases of each kind, and runs that extract from them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

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


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path}/source.db"


@pytest.fixture(params=["sqlite_url", "postgres_url"])
def url(request: pytest.FixtureRequest) -> str:
    """A new, empty database of each kind."""
    url: str = request.getfixturevalue(request.param)
    return url
