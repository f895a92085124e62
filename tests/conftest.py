"""What all tests share: a warm step server, a folder and a PostgreSQL server."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest

from ecommerce_pipeline.execution import environment, step_server
from ecommerce_pipeline.harness.postgres_server import running_server
from support import crash_points

_numbers = count()

# The environments of the variants, in which tests/equivalence runs too, need not have Hypothesis.
with suppress(ModuleNotFoundError):
    from hypothesis import settings

    # On a loaded machine an example may take a second; its time says nothing about the rule.
    settings.register_profile("pipeline", deadline=None, print_blob=True)
    settings.load_profile("pipeline")


def pytest_configure() -> None:
    """Let Ctrl+C reach the tests and what they start, also in a background job that ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def step_server_environment() -> Iterator[dict[str, str]]:
    """The variable that names a running step server, which has dbt and the crash hook."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in crash_points.environment().items():
                patch.setenv(name, value)
            patch.setattr(environment, "PASSED_ON", (*environment.PASSED_ON, "PYTHONPATH"))
            address = stack.enter_context(step_server.running())
        yield {step_server.ENVIRONMENT_VARIABLE: str(address)}


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives as long as the session."""
    return tmp_path_factory.mktemp("session")


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
