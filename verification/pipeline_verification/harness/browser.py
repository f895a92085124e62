"""A real browser for tests and screenshots: finding it and starting it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def browser_path(environment: Mapping[str, str]) -> str:
    """The path of the browser that ``CHROMIUM`` names, or of one on the ``PATH``.

    Without a browser, the test that calls this is skipped with a message that says what to
    install. Where ``CI`` is set, it fails instead.
    """
    names = (environment.get("CHROMIUM"), *NAMES)
    found = (shutil.which(name, path=environment.get("PATH")) for name in names if name)
    path = next((path for path in found if path), None)
    if path is not None:
        return path
    missing = "install chromium (Debian: apt-get install chromium), or set CHROMIUM to one"
    if environment.get("CI"):
        pytest.fail(f"CI is set and no browser was found: {missing}")
    pytest.skip(f"no browser was found: {missing}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser for the block; without one, skip or fail as ``browser_path`` does."""
    executable = browser_path(os.environ)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()
