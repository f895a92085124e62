"""A warehouse that was lost is refused, and one command rebuilds it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification import checks
from pipeline_verification.harness.control import (
    advance_source,
    fill_source,
    interval_of,
    run_control,
)

DAYS = ("2025-01-01", "2025-01-02", "2025-01-03")

Folders = tuple[RunDirectory, RunDirectory]


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, step_server_environment: dict[str, str]
) -> Folders:
    """A folder after two days whose source has reached the third, and one after three days."""
    two, three = (RunDirectory(tmp_path_factory.mktemp(name) / "run") for name in ("two", "three"))
    url, dataset = f"sqlite:///{two.source_file}", load_dataset("synthetic")
    fill_source(url, dataset, DAYS[0])
    for day in DAYS[:2]:
        advance_source(url, dataset, day)
        done = run_control(two.path, day, environment=step_server_environment)
        assert done.returncode == 0, done.stderr
        if day == DAYS[0]:
            shutil.copy(two.warehouse, two.path / "first-day.duckdb")
    advance_source(url, dataset, DAYS[2])
    shutil.copytree(two.path, three.path, symlinks=True)
    done = run_control(three.path, DAYS[2], environment=step_server_environment)
    assert done.returncode == 0, done.stderr
    return two, three


@pytest.fixture
def run(folders: Folders, tmp_path: Path) -> RunDirectory:
    shutil.copytree(folders[0].path, tmp_path / "run", symlinks=True)
    return RunDirectory(tmp_path / "run")


def rebuild(run: RunDirectory, source: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ecommerce_pipeline", "rebuild-warehouse", str(run.path)],
        env={**os.environ, "PIPELINE_SOURCE_URL": source or f"sqlite:///{run.source_file}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def delete(run: RunDirectory) -> None:
    run.warehouse.unlink()


def restore_an_old_copy(run: RunDirectory) -> None:
    (run.path / "first-day.duckdb").replace(run.warehouse)


def delete_without_a_published_copy(run: RunDirectory) -> None:
    run.warehouse.unlink()
    run.published.unlink()


@pytest.mark.parametrize(
    "lose", [delete, restore_an_old_copy, delete_without_a_published_copy], ids=lambda f: f.__name__
)
def test_a_lost_warehouse_is_refused(
    run: RunDirectory, lose: Callable[[RunDirectory], None], step_server_environment: dict[str, str]
) -> None:
    """A run that finds less in the warehouse than was loaded fails, and publishes nothing."""
    lose(run)
    before = run.published.resolve()
    done = run_control(run.path, DAYS[2], environment=step_server_environment)
    assert done.returncode == 1
    assert "which was loaded before" in done.stderr
    assert f"ecommerce-pipeline rebuild-warehouse {run.path}" in done.stderr
    assert run.published.resolve() == before


@pytest.mark.parametrize("lose", [delete, restore_an_old_copy], ids=lambda f: f.__name__)
def test_a_rebuilt_warehouse_equals_the_lost_one(
    run: RunDirectory,
    folders: Folders,
    lose: Callable[[RunDirectory], None],
    step_server_environment: dict[str, str],
) -> None:
    """After the command that the message names, the next day leaves what it would have left."""
    lose(run)
    done = rebuild(run)
    assert done.returncode == 0, done.stderr
    again = run_control(run.path, DAYS[2], environment=step_server_environment)
    assert again.returncode == 0, again.stderr
    assert checks.other_run(run, folders[1]) == []


def test_landing_files_that_are_damaged_are_extracted_again(
    run: RunDirectory, step_server_environment: dict[str, str]
) -> None:
    """A missing or damaged landing file does not prevent the rebuild, which says what it does."""
    delete(run)
    first, second = (run.landing_file("orders", interval_of(day)) for day in DAYS[:2])
    first.write_bytes(b"damaged")
    second.with_suffix(".json").unlink()
    done = rebuild(run)
    assert done.returncode == 0, done.stderr
    assert f"{DAYS[0]}: extracting again, since the landing file {first}" in done.stdout
    assert f"{DAYS[1]}: extracting again, since its landing files are missing" in done.stdout
    again = run_control(run.path, DAYS[2], environment=step_server_environment)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("lock", ["lock", "driver_lock", "steps_lock"])
def test_a_folder_in_use_is_not_rebuilt(run: RunDirectory, lock: str) -> None:
    """While a run or a step works in the folder the command ends in one line, changing nothing."""
    content = run.warehouse.read_bytes()
    with exclusive(getattr(run, lock)):
        done = rebuild(run)
    assert done.returncode == 1
    assert done.stderr.startswith("error: another run")
    assert run.warehouse.read_bytes() == content


def test_an_interval_that_was_refused_is_left_out(
    run: RunDirectory, step_server_environment: dict[str, str]
) -> None:
    """A rebuild loads no interval whose own load was refused, and its run is refused again."""
    with closing(sqlite3.connect(run.source_file)) as connection, connection:
        connection.execute("DELETE FROM customers")
    refused = run_control(run.path, DAYS[2], environment=step_server_environment)
    assert "of customers that it had" in refused.stderr
    delete(run)
    done = rebuild(run)
    assert done.returncode == 0, done.stderr
    assert f"{DAYS[2]}: left out, since it was not loaded before" in done.stdout
    again = run_control(run.path, DAYS[2], environment=step_server_environment)
    assert "of customers that it had" in again.stderr


def test_another_source_is_not_taken_for_the_lost_one(run: RunDirectory, tmp_path: Path) -> None:
    """What landing/ lacks is not extracted from a source with far fewer rows than published."""
    delete(run)
    shutil.rmtree(run.landing)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    fill_source(other, load_dataset("synthetic"), DAYS[0])
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection, connection:
        connection.execute("DELETE FROM products")
    done = rebuild(run, other)
    assert done.returncode == 1
    assert "set PIPELINE_SOURCE_URL to the source from which they came" in done.stderr
    assert not run.warehouse.exists()


def test_a_folder_without_data_is_not_rebuilt(tmp_path: Path) -> None:
    """A folder with neither landing files nor a published copy is refused by name."""
    done = rebuild(RunDirectory(tmp_path))
    assert done.returncode == 1
    assert f"error: {tmp_path} has neither landing files nor a published copy" in done.stderr
    assert not (tmp_path / "warehouse.duckdb").exists()
