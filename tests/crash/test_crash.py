"""SIGKILL at every named point and at random moments; run again; equal to a run left alone."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import psutil
import pytest

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.compare import compare
from pipeline_verification.harness.control import (
    advance_source,
    fill_source,
    run_control,
    start_control,
)
from support import crash_points

FIRST_DAY, SECOND_DAY = "2025-01-01", "2025-01-02"
RANDOM_MOMENTS = 6


@dataclass(frozen=True)
class Reference:
    """A run left alone: its folder before and after the second day, and how long that took."""

    before: Path
    after: Path
    seconds: float


@pytest.fixture(scope="module")
def reference(
    tmp_path_factory: pytest.TempPathFactory, step_server_environment: dict[str, str]
) -> Reference:
    folder = tmp_path_factory.mktemp("reference")
    before, after = folder / "before", folder / "after"
    dataset = load_dataset("synthetic")
    url = f"sqlite:///{RunDirectory(before).source_file}"
    before.mkdir()
    fill_source(url, dataset, FIRST_DAY)
    first = run_control(before, FIRST_DAY, environment=step_server_environment)
    assert first.returncode == 0, first.stderr
    advance_source(url, dataset, SECOND_DAY)
    shutil.copytree(before, after, symlinks=True)
    started = time.monotonic()
    second = run_control(after, SECOND_DAY, environment=step_server_environment)
    assert second.returncode == 0, second.stderr
    return Reference(before, after, time.monotonic() - started)


@pytest.fixture
def run_dir(reference: Reference, tmp_path: Path) -> Iterator[Path]:
    """A copy of the folder as it was before the second day."""
    folder = tmp_path / "run"
    shutil.copytree(reference.before, folder, symlinks=True)
    yield folder
    shutil.rmtree(folder)


def published_revenue(run_dir: Path) -> list[tuple[object, ...]]:
    """Every row of the published revenue mart, as a reader sees it now."""
    file = RunDirectory(run_dir).published / "warehouse.duckdb"
    with duckdb.connect(str(file), read_only=True) as connection:
        return connection.execute(
            "SELECT * FROM marts.daily_revenue_by_category ORDER BY ALL"
        ).fetchall()


def assert_readers_see_a_whole_version(run_dir: Path, reference: Reference) -> None:
    versions = [published_revenue(reference.before), published_revenue(reference.after)]
    assert published_revenue(run_dir) in versions


def assert_a_second_run_heals(
    run_dir: Path, reference: Reference, environment: dict[str, str]
) -> None:
    again = run_control(run_dir, SECOND_DAY, environment=environment)
    assert again.returncode == 0, again.stderr
    healed, left_alone = RunDirectory(run_dir), RunDirectory(reference.after)
    assert compare(healed.warehouse, left_alone.warehouse) == []
    assert published_revenue(run_dir) == published_revenue(reference.after)
    hidden = [
        path
        for path in run_dir.rglob(".*.tmp")
        if ".published" not in path.relative_to(run_dir).parts
    ]
    assert hidden == []


@pytest.mark.parametrize("point", crash_points.CRASH_POINTS)
def test_a_kill_at_a_named_point_is_healed_by_running_again(
    point: str, run_dir: Path, reference: Reference, step_server_environment: dict[str, str]
) -> None:
    """SIGKILL at the point stops the run or its step; the next run leaves equal tables."""
    environment = {**step_server_environment, **crash_points.environment(point)}
    killed = run_control(run_dir, SECOND_DAY, environment=environment)
    assert killed.returncode != 0 or point.startswith("notification:")
    assert_readers_see_a_whole_version(run_dir, reference)
    assert_a_second_run_heals(run_dir, reference, step_server_environment)


@pytest.mark.parametrize("seed", range(RANDOM_MOMENTS))
def test_a_kill_at_a_random_moment_is_healed_by_running_again(
    seed: int, run_dir: Path, reference: Reference, step_server_environment: dict[str, str]
) -> None:
    """SIGKILL of the pipeline and its step at any moment; the next run leaves equal tables."""
    moment = random.Random(seed).uniform(0.0, 1.0) * reference.seconds  # noqa: S311 (no secret)
    with start_control(run_dir, SECOND_DAY, environment=step_server_environment) as process:
        time.sleep(moment)
        descendants = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
        for descendant in descendants:
            descendant.kill()
    assert_readers_see_a_whole_version(run_dir, reference)
    assert_a_second_run_heals(run_dir, reference, step_server_environment)
