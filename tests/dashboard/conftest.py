"""A published sample run, and a real browser to look at its dashboard."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.run_directory import RunDirectory
from proof import small_warehouse

BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser_path(environment: Mapping[str, str]) -> str:
    """The browser that ``CHROMIUM`` names, or one on the ``PATH``.

    Without one the test is skipped, saying what to install; where ``CI`` is set it fails.
    """
    names = (environment.get("CHROMIUM"), *BROWSER_NAMES)
    found = (shutil.which(name, path=environment.get("PATH")) for name in names if name)
    path = next((path for path in found if path), None)
    if path is not None:
        return path
    missing = "install chromium (Debian: apt-get install chromium), or set CHROMIUM to one"
    if environment.get("CI"):
        pytest.fail(f"CI is set and no browser was found: {missing}")
    pytest.skip(f"no browser was found: {missing}")


@pytest.fixture
def find_browser() -> Callable[[Mapping[str, str]], str]:
    """The finder itself, for its own tests."""
    return browser_path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless browser for the module's tests."""
    executable = browser_path(os.environ)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(BROWSER_FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a published run of which three steps were noted."""
    return small_warehouse.publish_sample(tmp_path_factory.mktemp("published"))


@pytest.fixture
def context(published: Path, tmp_path: Path) -> StepContext:
    """A copy of the published run."""
    folder = shutil.copytree(published, tmp_path / "run", symlinks=True)
    return StepContext(RunDirectory(folder), small_warehouse.INTERVAL, "sqlite://")
