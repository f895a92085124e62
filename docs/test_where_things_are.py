"""The page "Where things are" names the files and folders that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_verification.harness.environments import ROOT
from website import pages

PAGE = (pages.PAGES / "where-things-are.md").read_text()
PACKAGES = ("shared/ecommerce_pipeline", "verification/pipeline_verification")
IGNORED = {"__pycache__"}


def tree(package: str) -> dict[str, str]:
    """The entries of a package's tree on the page, with what is said about each."""
    (block,) = re.findall(rf"^{package}/\n((?:  \S.*\n)+)", PAGE, re.M)
    return dict(line.split(maxsplit=1) for line in block.splitlines())


def paths_in_text() -> Iterator[Path]:
    """Every path in backquotes that begins with a folder of the repository."""
    for name in re.findall(r"`([\w.]+/[\w./]*)`", PAGE):
        if (ROOT / name.split("/")[0]).is_dir():
            yield ROOT / name


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tree_has_every_folder_of_the_package(package: str) -> None:
    """Each folder of the package is in the tree, and each entry of the tree exists."""
    named = set(tree(package))
    found = {f"{path.name}/" for path in (ROOT / package).iterdir() if path.is_dir()}
    assert {name for name in named if name.endswith("/")} == found - {f"{i}/" for i in IGNORED}
    assert [name for name in named if not (ROOT / package / name).exists()] == []


def test_every_path_exists() -> None:
    """Each file or folder of the repository that the page names exists."""
    found = list(paths_in_text())
    assert len(found) > 10
    assert [path for path in found if not path.exists()] == []


def test_each_file_of_the_step_has_its_function() -> None:
    """Each line of the lists of one dbt step names a file and a function that the file defines."""
    lines = re.findall(r"^\d\. `([^`]+)`, `(\w+)`:", PAGE, re.M)
    assert len(lines) == 9
    for file, function in lines:
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.M), (file, function)
