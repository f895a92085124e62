"""A shop for each test, whose staging views are there and whose raw tables are empty."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from ecommerce_pipeline import steps
from ecommerce_pipeline.run_directory import RunDirectory
from support.raw_warehouse import Shop


@pytest.fixture(scope="session")
def dbt_run(session_folder: Path) -> RunDirectory:
    """One run folder for all tests, because dbt parses the whole project for another."""
    return RunDirectory(session_folder / "dbt")


@pytest.fixture(scope="session")
def staged_warehouse(dbt_run: RunDirectory) -> Path:
    """A warehouse with empty raw tables and the staging views; never change it."""
    shop = Shop(dbt_run)
    shop.create()
    steps.resolve("dbt_run_staging")(shop.context())
    return dbt_run.warehouse.rename(dbt_run.path / "staged.duckdb")


@pytest.fixture
def shop(dbt_run: RunDirectory, staged_warehouse: Path) -> Shop:
    """An empty shop in a fresh warehouse."""
    copyfile(staged_warehouse, dbt_run.warehouse)
    return Shop(dbt_run)
