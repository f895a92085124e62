"""Parquet files as DuckDB reads them."""

from __future__ import annotations

import glob
from pathlib import Path


def parquet_pattern(path: Path) -> str:
    """The path as ``read_parquet`` takes it.

    DuckDB reads ``*``, ``?`` and ``[`` in a path as a pattern; a run's folder may have any name.
    """
    return glob.escape(str(path))
