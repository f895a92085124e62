"""A small warehouse with every table and kind of value, and damaged copies of it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.source_state import SourceState
from support.small_shop import DAY_BY_DAY, SMALL_SHOP


@pytest.fixture(scope="session")
def expected() -> dict[str, pa.Table]:
    """The oracle's tables for the small warehouse."""
    return expected_tables(SourceState(SMALL_SHOP), DAY_BY_DAY)


@pytest.fixture(scope="session")
def warehouse(expected: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DuckDB file with just those tables; never change it."""
    path = tmp_path_factory.mktemp("small") / "warehouse.duckdb"
    with duckdb.connect(path) as connection:
        connection.execute("CREATE SCHEMA raw; CREATE SCHEMA marts; CREATE SCHEMA snapshots")
        for name, rows in expected.items():
            connection.register("rows", rows)
            connection.execute(f"CREATE TABLE {name} AS FROM rows")
    return path


Damage = Callable[..., Path]


@pytest.fixture(scope="session")
def damaged(warehouse: Path) -> Damage:
    """Copies of the warehouse in which given SQL statements were executed."""
    numbers = itertools.count()

    def copy(*statements: str) -> Path:
        path = warehouse.with_name(f"damaged-{next(numbers) % 2}.duckdb")
        shutil.copyfile(warehouse, path)
        with duckdb.connect(path) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            for statement in statements:
                connection.execute(statement)
        return path

    return copy
