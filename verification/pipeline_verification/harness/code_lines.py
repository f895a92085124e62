"""Counts lines of code."""

from __future__ import annotations

from pathlib import Path


def count_code_lines(path: Path) -> int:
    """The number of lines in a Python file without comments and empty lines; docstrings count."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))
