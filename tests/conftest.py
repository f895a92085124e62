"""What all tests share: one warm step server, as every process of a run would use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecommerce_pipeline import step_server


@pytest.fixture(scope="session")
def step_server_environment() -> Iterator[dict[str, str]]:
    """The variable that names a running step server, which has dbt imported."""
    with step_server.running() as address:
        yield {step_server.ENVIRONMENT_VARIABLE: str(address)}


@pytest.fixture(scope="session")
def session_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that lives as long as the session."""
    return tmp_path_factory.mktemp("session")
