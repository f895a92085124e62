"""A published sample run, and a real browser that opens its dashboard."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.harness import browser
from pipeline_verification.harness.browser import browser_path
from support import small_warehouse


@pytest.fixture
def find_browser() -> Callable[[Mapping[str, str]], str]:
    """The finder itself, for its own tests."""
    return browser_path


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A headless browser for the module's tests."""
    with browser.chromium() as started:
        yield started


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a published run of which three steps were noted."""
    return small_warehouse.publish_sample(tmp_path_factory.mktemp("published"))


@pytest.fixture
def context(published: Path, tmp_path: Path) -> StepContext:
    """A copy of the published run."""
    folder = shutil.copytree(published, tmp_path / "run", symlinks=True)
    return StepContext(RunDirectory(folder), small_warehouse.INTERVAL, "sqlite://")
