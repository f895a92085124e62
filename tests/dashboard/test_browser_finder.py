"""Which browser the tests use, and what happens without one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

Find = Callable[[Mapping[str, str]], str]


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a program named chromium-browser and one of another name."""
    for name in ("chromium-browser", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return tmp_path


def test_the_named_browser_comes_first(find_browser: Find, programs: Path) -> None:
    """CHROMIUM wins over what is on the PATH."""
    environment = {"PATH": str(programs), "CHROMIUM": str(programs / "mine")}
    assert find_browser(environment) == str(programs / "mine")
    del environment["CHROMIUM"]
    assert find_browser(environment) == str(programs / "chromium-browser")


def test_without_a_browser_the_tests_are_skipped(find_browser: Find, tmp_path: Path) -> None:
    """Without a browser the skip says what to install."""
    with pytest.raises(pytest.skip.Exception, match="no browser was found: install chromium"):
        find_browser({"PATH": str(tmp_path)})


def test_without_a_browser_ci_fails(find_browser: Find, tmp_path: Path) -> None:
    """Where CI is set, a missing browser is a failure."""
    with pytest.raises(pytest.fail.Exception, match="CI is set and no browser was found"):
        find_browser({"PATH": str(tmp_path), "CI": "true"})
