"""Made-up results, the site that is built from them, and a browser that looks at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import build
import samples
from proof import browser
from proof.environments import variant_names


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of results for every tool of this checkout, to be spoilt by a test."""
    return samples.write(tmp_path / "benchmarks", variant_names())


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from made-up results."""
    folder = tmp_path_factory.mktemp("site")
    build.build(samples.write(folder / "benchmarks", variant_names()), folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with build.server(site) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    with browser.chromium() as started:
        yield started
