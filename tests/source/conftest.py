"""An empty database of each kind for each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ecommerce_pipeline.source import Source, connect


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
