"""Connections to DuckDB, which neither download nor load an extension."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

# DuckDB would fetch an extension from its publisher and run it as soon as a file or a function
# seems to need one, such as a SQLite file that lies where a DuckDB file should. Within a process
# all connections to one file must have equal settings; dbt's are in profiles.yml.
CONFIG: Mapping[str, bool] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def connect_duckdb(
    path: Path | None = None, *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, or a database in memory where ``path`` is None.

    Raises:
        duckdb.Error: the file is locked, or no DuckDB database, or the disk refuses.
    """
    return duckdb.connect(str(path or ":memory:"), read_only=read_only, config={**CONFIG})
