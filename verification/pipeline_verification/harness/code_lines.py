"""How long a piece of code is."""

from __future__ import annotations

from pathlib import Path


def count_code_lines(path: Path) -> int:
    """The lines of a Python file that are neither empty nor a comment; docstrings count."""
    lines = (line.strip() for line in path.read_text().splitlines())
    return sum(1 for line in lines if line and not line.startswith("#"))
