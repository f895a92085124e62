"""Parquet files as DuckDB reads them."""

from __future__ import annotations

import glob
from pathlib import Path


def parquet_table(path: Path) -> str:
    """The rows of one Parquet file as a table function in SQL: ``f"FROM {parquet_table(path)}"``.

    The file is read under exactly this path, and its columns are what it holds. Left alone, DuckDB
    reads ``*``, ``?`` and ``[`` in a path as a pattern, and below a folder named ``status=new`` it
    replaces the column ``status`` by that text; a run's folder may have any name.
    """
    literal = glob.escape(str(path)).replace("'", "''")
    return f"read_parquet('{literal}', hive_partitioning = false)"
