"""Sizes, packages and files, counted on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from ecommerce_pipeline.harness.variant import NO_OP

OWN_PACKAGES = {"ecommerce-pipeline", "pipeline-verification"}
TESTS = ("test_", "conftest")


def size_in_bytes(folder: Path) -> int:
    """The bytes of all files below a folder, without links and compiled modules."""
    # uv compiles nothing and pip everything, and a run compiles what it imports: with compiled
    # modules the size would depend on the installer and on what has run.
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink() and "__pycache__" not in file.parts
    )


def packages(environment: Path) -> set[str]:
    """The names of the distributions in an environment, without this repository's."""
    sites = map(str, environment.glob("lib/python*/site-packages"))
    names = {found.metadata["Name"].lower() for found in distributions(path=list(sites))}
    return names - OWN_PACKAGES


def own_files(folder: Path) -> Iterator[Path]:
    """The Python files of a variant, without its tests and the steps that do nothing."""
    for file in sorted(folder.rglob("*.py")):
        if not file.name.startswith(TESTS) and file.stem != NO_OP:
            yield file


def python_folders(folder: Path) -> list[str]:
    """The folder and those below it with Python files, for ``PYTHONPATH``."""
    return list(dict.fromkeys([str(folder), *(str(file.parent) for file in own_files(folder))]))
