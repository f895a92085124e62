"""Fixtures: sample results, the sites built from them and from the committed ones, a browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser

import build
import samples
from pipeline_verification.harness import browser
from pipeline_verification.harness.environments import variant_names


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder of sample results for every tool of this checkout, which a test may change."""
    return samples.write(tmp_path / "benchmarks", variant_names())


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built from sample results."""
    folder = tmp_path_factory.mktemp("site")
    build.build(samples.write(folder / "benchmarks", variant_names()), folder / "site")
    return folder / "site"


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """The address of the site of sample results."""
    with _served(site) as url:
        yield url


@dataclass(frozen=True, slots=True)
class Served:
    """A site's folder and the address at which it is served."""

    site: Path
    address: str

    @property
    def pages(self) -> list[str]:
        """The address of every page."""
        folders = sorted(
            file.parent.relative_to(self.site) for file in self.site.rglob("index.html")
        )
        return [f"{self.address}/{folder.as_posix()}/".replace("/./", "/") for folder in folders]


@pytest.fixture(scope="session", params=["sample", "committed"])
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The site of sample results, and the one of the committed results, which is published."""
    if request.param == "sample":
        site = request.getfixturevalue("site")
        yield Served(site, request.getfixturevalue("address"))
        return
    site = tmp_path_factory.mktemp("committed") / "site"
    build.build(build.RESULTS, site)
    with _served(site) as url:
        yield Served(site, url)


@contextmanager
def _served(site: Path) -> Iterator[str]:
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
