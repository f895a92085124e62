"""Airflow for the tests: a temporary home and SQLite metadata database, no services."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings

from ecommerce_pipeline.execution import step_server

HERE = Path(__file__).parent
_stack = ExitStack()

# On a loaded machine an example may take a second; its time says nothing about the rule.
settings.register_profile("pipeline", deadline=None, print_blob=True)
settings.load_profile("pipeline")


def pytest_configure(config: pytest.Config) -> None:
    """Set Airflow's environment, which it reads when a test first imports it."""
    home = _stack.enter_context(tempfile.TemporaryDirectory(prefix="airflow-tests-"))
    os.environ.update(
        {
            "AIRFLOW_HOME": home,
            "DO_NOT_TRACK": "1",
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(HERE / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__COSMOS__CACHE_DIR": f"{home}/cosmos",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        }
    )
    # Airflow itself uses deprecated functions; only warnings about this folder's code are errors.
    config.addinivalue_line("filterwarnings", "ignore")
    ours = [path.stem for folder in (HERE, HERE / "plugins") for path in folder.glob("*.py")]
    for module in ("ecommerce_pipeline", *ours):
        config.addinivalue_line("filterwarnings", f"error:::{module}")


def pytest_unconfigure() -> None:
    """Remove the home."""
    _stack.close()


@pytest.fixture(scope="session")
def metadata_database() -> None:
    """The tables that ``dag.test()`` needs."""
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True)


@pytest.fixture(scope="module")
def step_server_address() -> Iterator[str]:
    """The address of a step server that a module's tests share."""
    with step_server.running() as address:
        yield str(address)
