"""Sizes, packages and lines, counted on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

from pipeline_verification.harness.remote_variant import NO_OP

OUR_OWN = {"ecommerce-pipeline", "pipeline-verification"}
TESTS = ("test_", "conftest")


def size_in_bytes(folder: Path) -> int:
    """The bytes of all files below a folder; links and compiled modules are left out."""
    return sum(
        file.stat().st_size
        for file in folder.rglob("*")
        if file.is_file() and not file.is_symlink() and "__pycache__" not in file.parts
    )


def packages(environment: Path) -> set[str]:
    """The names of the distributions in an environment, without our own."""
    sites = map(str, environment.glob("lib/python*/site-packages"))
    names = {found.metadata["Name"].lower() for found in distributions(path=list(sites))}
    return names - OUR_OWN


def code_lines(file: Path) -> int:
    """The lines of a Python file that are neither blank nor only a comment; docstrings count."""
    lines = (line.strip() for line in file.read_text().splitlines())
    return sum(bool(line) and not line.startswith("#") for line in lines)


def own_files(folder: Path) -> Iterator[Path]:
    """The Python files of a variant, without its tests and the steps that do nothing."""
    for file in sorted(folder.rglob("*.py")):
        if not file.name.startswith(TESTS) and file.stem != NO_OP:
            yield file


def python_folders(folder: Path) -> list[str]:
    """The folder and those below it that hold Python files, for a module path."""
    return list(dict.fromkeys([str(folder), *(str(file.parent) for file in own_files(folder))]))
