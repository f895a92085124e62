"""Bad input ends in one clear line and a non-zero exit; no traceback, no secret, nothing lost."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import duckdb
import pytest

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.compare import compare
from pipeline_verification.harness.control import (
    advance_source,
    fill_source,
    interval_of,
    run_control,
)
from pipeline_verification.harness.environments import ROOT

FIRST_DAY, SECOND_DAY = "2025-01-01", "2025-01-02"
SECRET = "s3cret-and-unique"  # noqa: S105 (what must never be printed)


@pytest.fixture(scope="module")
def good_run(
    tmp_path_factory: pytest.TempPathFactory, step_server_environment: dict[str, str]
) -> Path:
    """A folder whose first day succeeded and whose source has reached the end of the second."""
    folder = tmp_path_factory.mktemp("good") / "run"
    folder.mkdir()
    url = f"sqlite:///{RunDirectory(folder).source_file}"
    fill_source(url, load_dataset("synthetic"), FIRST_DAY)
    done = run_control(folder, FIRST_DAY, environment=step_server_environment)
    assert done.returncode == 0, done.stderr
    advance_source(url, load_dataset("synthetic"), SECOND_DAY)
    return folder


@pytest.fixture
def run_dir(good_run: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "run"
    shutil.copytree(good_run, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


def the_line(result: subprocess.CompletedProcess[str]) -> str:
    """The one line that the command wrote to stderr, after checking that it is one."""
    assert result.returncode == 1, result.stdout + result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def assert_nothing_lost(run_dir: Path, good_run: Path) -> None:
    """Warehouse, published copy and dashboard are as they were before the failure."""
    now, before = RunDirectory(run_dir), RunDirectory(good_run)
    assert compare(now.warehouse, before.warehouse) == []
    assert now.published.resolve().name == before.published.resolve().name
    assert now.dashboard.read_bytes() == before.dashboard.read_bytes()


def assert_never_written(secret: str, run_dir: Path) -> None:
    """No file of the run holds the secret."""
    holders = [
        path
        for path in run_dir.rglob("*")
        if path.is_file() and secret.encode() in path.read_bytes()
    ]
    assert holders == []


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_an_unreachable_source_is_named(
    run_dir: Path, good_run: Path, step_server_environment: dict[str, str]
) -> None:
    """A source that refuses connections is named without its password."""
    port = closed_port()
    url = f"postgresql://reader:{SECRET}@127.0.0.1:{port}/shop"
    environment = {**step_server_environment, "PIPELINE_SOURCE_URL": url}
    line = the_line(run_control(run_dir, SECOND_DAY, environment=environment))
    assert f"127.0.0.1:{port}" in line
    assert SECRET not in line
    assert_never_written(SECRET, run_dir)
    assert_nothing_lost(run_dir, good_run)


def test_a_wrong_password_is_never_printed(
    run_dir: Path, good_run: Path, server_url: str, step_server_environment: dict[str, str]
) -> None:
    """A refused password is reported as such, and neither printed nor written anywhere."""
    user, _, rest = server_url.removeprefix("postgresql://").partition("@")
    url = f"postgresql://{user.partition(':')[0]}:{SECRET}@{rest}"
    environment = {**step_server_environment, "PIPELINE_SOURCE_URL": url}
    line = the_line(run_control(run_dir, SECOND_DAY, environment=environment))
    assert "password" in line
    assert SECRET not in line
    assert_never_written(SECRET, run_dir)
    assert_nothing_lost(run_dir, good_run)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("mysql://127.0.0.1/shop", "mysql"),
        ("shop.db", "shop.db"),
        ("sqlite:////nowhere/at/all/shop.db", "/nowhere/at/all/shop.db"),
        (f"sqlite:///{ROOT / 'README.md'}", "README.md"),
    ],
)
def test_a_wrong_url_is_named(
    url: str, named: str, run_dir: Path, good_run: Path, step_server_environment: dict[str, str]
) -> None:
    """A URL of an unknown kind, of a missing file or of a file that is no database is named."""
    environment = {**step_server_environment, "PIPELINE_SOURCE_URL": url}
    line = the_line(run_control(run_dir, SECOND_DAY, environment=environment))
    assert named in line
    assert_nothing_lost(run_dir, good_run)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("DROP TABLE orders", "orders"),
        ("ALTER TABLE orders DROP COLUMN tax_rate_bp", "tax_rate_bp"),
        ("ALTER TABLE customers RENAME COLUMN email TO mail", "email"),
    ],
)
def test_a_missing_table_or_column_is_named(
    change: str, named: str, run_dir: Path, good_run: Path, step_server_environment: dict[str, str]
) -> None:
    """A table or column that the source lacks is refused by its name."""
    with closing(sqlite3.connect(RunDirectory(run_dir).source_file)) as connection, connection:
        connection.execute(change)
    line = the_line(run_control(run_dir, SECOND_DAY, environment=step_server_environment))
    assert named in line
    assert_nothing_lost(run_dir, good_run)


def run_step(
    step: str, day: str, run_dir: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run one step by hand, as ``ecommerce-pipeline run-step`` does."""
    return subprocess.run(
        [sys.executable, "-m", "ecommerce_pipeline", "run-step", step, day],
        env={**os.environ, "PIPELINE_RUN_DIR": str(run_dir), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("damage", ["truncated", "no Parquet", "missing"])
def test_a_damaged_landing_file_is_named(
    damage: str, run_dir: Path, good_run: Path, step_server_environment: dict[str, str]
) -> None:
    """A landing file that is truncated, overwritten or gone is named, and nothing is loaded."""
    path = RunDirectory(run_dir).landing_file("orders", interval_of(FIRST_DAY))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100] if damage == "truncated" else b"not Parquet")
    line = the_line(run_step("load_raw", FIRST_DAY, run_dir, step_server_environment))
    assert str(path) in line
    assert "extract" in line
    assert_nothing_lost(run_dir, good_run)


def test_a_locked_warehouse_names_the_holder(
    run_dir: Path, step_server_environment: dict[str, str]
) -> None:
    """A warehouse that another process keeps open is waited for, then its holder is named."""
    warehouse = RunDirectory(run_dir).warehouse
    environment = {**step_server_environment, "PIPELINE_LOCK_WAIT_SECONDS": "0.5"}
    with duckdb.connect(str(warehouse)):
        line = the_line(run_step("load_raw", FIRST_DAY, run_dir, environment))
    assert str(warehouse) in line
    assert f"process {os.getpid()}" in line
    assert run_step("load_raw", FIRST_DAY, run_dir, environment).returncode == 0


@pytest.mark.parametrize("step", ["extract_orders", "load_raw", "publish"])
def test_a_full_disk_is_reported_and_nothing_half_written(
    step: str, run_dir: Path, good_run: Path, step_server_environment: dict[str, str]
) -> None:
    """Where files may not grow, the step fails with one line and leaves the run as it was."""
    for table in TABLES:
        extracted = run_step(f"extract_{table.name}", SECOND_DAY, run_dir, step_server_environment)
        assert extracted.returncode == 0, extracted.stderr
    limit = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
    code = f"{limit} sys.argv = ['ecommerce-pipeline', 'run-step', '{step}', '{SECOND_DAY}'];"
    result = subprocess.run(
        [sys.executable, "-c", f"{code} from ecommerce_pipeline.cli import main; main()"],
        env={**os.environ, "PIPELINE_RUN_DIR": str(run_dir)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert str(run_dir) in the_line(result)
    assert_nothing_lost(run_dir, good_run)
    assert run_step(step, SECOND_DAY, run_dir, step_server_environment).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["2025-13-01"], "2025-13-01"),
        (["2025-01-02T00:00:00Z/2025-01-01T00:00:00Z"], "not after its start"),
        ([SECOND_DAY, "tomorrow"], "tomorrow"),
    ],
)
def test_bad_intervals_are_refused_before_anything_runs(
    arguments: list[str], named: str, run_dir: Path, good_run: Path
) -> None:
    """An impossible date or an end before its start is named before the first step begins."""
    line = the_line(run_control(run_dir, *arguments))
    assert named in line
    assert_nothing_lost(run_dir, good_run)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--start", "2025-02-30"], "2025-02-30"),
        (
            ["--start", "2017-12-31", "--days", "400", "--dataset", "complete-journey"],
            "no data",
        ),
        (["--start", "1999-01-01"], "1999-01-01"),
        (["--dataset", "none"], "--source"),
        (["--dataset", "none", "--source", "sqlite:////tmp/shop.db"], "--start"),
        (["--start", "9999-12-31", "--days", "1"], "the calendar ends on 9999-12-31"),
        (["--days", "3000000"], "the calendar ends on 9999-12-31"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], named: str, tmp_path: Path
) -> None:
    """Options that contradict each other or the data set end in one line that names them."""
    command = [sys.executable, str(ROOT / "cron_impl" / "run.py"), *arguments]
    result = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert named in the_line(result)


def run_with(*options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "cron_impl" / "run.py"), *options]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [[], ["--resume"]])
def test_a_foreign_folder_is_never_cleared(options: list[str], tmp_path: Path) -> None:
    """A folder that holds files but no run record is refused and left as it is, without a lock."""
    (tmp_path / "thesis.txt").write_text("years of work")
    line = the_line(run_with("--run-dir", str(tmp_path), *options, cwd=tmp_path))
    assert "is not a run's folder" in line or "there is no run record" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_empty_path_is_refused(tmp_path: Path) -> None:
    """An empty --run-dir or PIPELINE_RUN_DIR is not taken for the working directory."""
    refused = run_with("--run-dir", "", cwd=tmp_path)
    assert (refused.returncode, "the path is empty" in refused.stderr) == (2, True)
    empty = {**os.environ, "PIPELINE_RUN_DIR": ""}
    with pytest.raises(PipelineError, match="PIPELINE_RUN_DIR is not set"):
        RunSettings.from_environment(empty)
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_a_folder_where_the_pipeline_works_is_refused(tmp_path: Path) -> None:
    """While pipeline.py works in a folder, run.py clears nothing in it and ends in one line."""
    run = RunDirectory(tmp_path / "run")
    run.make()
    run.record.write_text("{}")
    run.source_file.write_text("data")
    with exclusive(run.lock):
        line = the_line(run_with("--run-dir", str(run.path), cwd=tmp_path))
    assert f"process {os.getpid()}" in line
    assert run.source_file.read_text() == "data"


def test_a_folder_with_pattern_characters_works(
    tmp_path: Path, step_server_environment: dict[str, str]
) -> None:
    """A run's folder may be named with what a shell would take for a pattern."""
    folder = tmp_path / "run [1] *"
    folder.mkdir()
    fill_source(
        f"sqlite:///{RunDirectory(folder).source_file}", load_dataset("synthetic"), FIRST_DAY
    )
    done = run_control(folder, FIRST_DAY, environment=step_server_environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("name", "shown"), [("what?", "question mark"), ("a\\b", "backslash")])
def test_a_folder_that_duckdb_cannot_use_is_refused(tmp_path: Path, name: str, shown: str) -> None:
    """What DuckDB takes for something else than a character of the path is refused by name."""
    assert shown in the_line(run_control(tmp_path / name, FIRST_DAY))
