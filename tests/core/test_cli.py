"""The command ``ecommerce-pipeline``: a source made, loaded and advanced by hand."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from ecommerce_pipeline.run_directory import RunDirectory
from support import small_warehouse


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ecommerce_pipeline", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection, connection:
        return int(connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0])


def test_a_source_is_created_loaded_and_advanced(tmp_path: Path) -> None:
    """Create makes empty tables, load brings the first day, advance the days up to --to."""
    path = tmp_path / "shop.db"
    url = f"sqlite:///{path}"
    assert command("source", "create", url).returncode == 0
    assert count(path, "orders") == 0
    assert command("source", "load", url, "--seed", "1").returncode == 0
    assert count(path, "orders") == 440
    advanced = command("source", "advance", url, "--to", "2025-01-02")
    assert advanced.stdout.splitlines()[-1] == "the source has reached the end of 2025-01-02"
    assert count(path, "orders") > 440


def test_advancing_twice_changes_nothing(tmp_path: Path) -> None:
    """A source that has reached the end of a day already is left as it is."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    command("source", "create", url)
    command("source", "load", url)
    before = (tmp_path / "shop.db").read_bytes()
    assert command("source", "advance", url, "--to", "2025-01-01").returncode == 0
    assert (tmp_path / "shop.db").read_bytes() == before


def test_foreign_tables_are_never_replaced(tmp_path: Path) -> None:
    """A database whose tables no data set filled is refused, and keeps its rows."""
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO orders VALUES (1)")
    refused = command("source", "create", f"sqlite:///{path}")
    assert refused.returncode == 1
    assert "already has orders, which no data set filled" in refused.stderr
    assert count(path, "orders") == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--to", "soon"], "'soon' is not a calendar date"),
        (["--to", "2025-01-02"], "holds no data set"),
    ],
)
def test_what_cannot_be_advanced_is_refused_in_one_line(
    arguments: list[str], named: str, tmp_path: Path
) -> None:
    """A bad day, or a source without a data set, ends in one line and exit code 1."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    command("source", "create", url)
    refused = command("source", "advance", url, *arguments)
    assert refused.returncode == 1
    assert len(refused.stderr.strip().splitlines()) == 1
    assert named in refused.stderr


def test_one_data_set_is_not_mixed_with_another(tmp_path: Path) -> None:
    """Loading another seed into a source that holds one is refused by naming both."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    command("source", "create", url)
    command("source", "load", url, "--seed", "1")
    refused = command("source", "load", url, "--seed", "2")
    assert refused.returncode == 1
    assert '"seed": 1' in refused.stderr
    assert '"seed": 2' in refused.stderr


def test_the_published_version_is_printed(tmp_path: Path) -> None:
    """The command published prints the folder of the current version, and only that."""
    run = RunDirectory(tmp_path / "run")
    refused = command("published", str(run.path))
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: nothing is published in {run.published}")
    small_warehouse.publish_sample(run.path)
    done = command("published", str(run.path))
    assert done.stdout == f"{run.published_versions.resolve() / '000001'}\n"
