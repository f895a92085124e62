"""The driver, with the control as its variant: modes, resume, failure, and an existing source."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.harness import run_record
from pipeline_verification.harness.control import advance_source, fill_source
from pipeline_verification.harness.environments import ROOT


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def drive(run_dir: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "cron_impl" / "run.py"), "--run-dir", str(run_dir), *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def recorded(run_dir: Path) -> dict[str, Any]:
    return run_record.read(run_dir / "run.json")


def assert_equal_to_the_oracle(run_dir: Path) -> None:
    suite = [sys.executable, "-m", "pytest", "-q", str(ROOT / "tests" / "equivalence")]
    done = subprocess.run(
        [*suite, "-p", "no:cacheprovider", "--run-dir", str(run_dir)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_a_run_is_resumed(run_dir: Path, step_server_environment: dict[str, str]) -> None:
    """--resume keeps the folder and its history; the outcome equals the oracle's of both parts."""
    assert drive(run_dir, "--days", "1", **step_server_environment).returncode == 0
    options = ["--resume", "--start", "2025-01-02", "--days", "1"]
    assert drive(run_dir, *options, **step_server_environment).returncode == 0
    assert [next(iter(event.items())) for event in recorded(run_dir)["history"]] == [
        ("advance", "2025-01-01"),
        ("interval", "2025-01-01T00:00:00Z/2025-01-02T00:00:00Z"),
        ("advance", "2025-01-02"),
        ("interval", "2025-01-02T00:00:00Z/2025-01-03T00:00:00Z"),
    ]
    assert_equal_to_the_oracle(run_dir)


def test_a_resumed_run_leaves_out_what_has_succeeded(
    run_dir: Path, step_server_environment: dict[str, str]
) -> None:
    """Only intervals without success run again: the source is as it was at none of the others.

    The state after SIGKILL: the second day has run, and the source has reached the third.
    """
    assert drive(run_dir, "--days", "2", **step_server_environment).returncode == 0
    advance_source(f"sqlite:///{run_dir / 'source.db'}", load_dataset("synthetic"), "2025-01-03")
    done = drive(run_dir, "--resume", "--days", "3", **step_server_environment)
    assert done.returncode == 0, done.stderr
    values = recorded(run_dir)
    assert [next(iter(event.items())) for event in values["history"]][-2:] == [
        ("advance", "2025-01-03"),
        ("interval", "2025-01-03T00:00:00Z/2025-01-04T00:00:00Z"),
    ]
    assert len(values["history"]) == 6
    assert [run["state"] for run in values["intervals"]] == ["success"] * 3
    assert_equal_to_the_oracle(run_dir)
    assert drive(run_dir, "--resume", "--days", "3", **step_server_environment).returncode == 0
    assert recorded(run_dir)["history"] == values["history"]


def test_another_data_set_is_not_resumed(
    run_dir: Path, step_server_environment: dict[str, str]
) -> None:
    """--resume with another seed than the folder's is refused before anything runs."""
    assert drive(run_dir, "--days", "1", **step_server_environment).returncode == 0
    before = (run_dir / "run.json").read_bytes()
    done = drive(run_dir, "--resume", "--days", "2", "--seed", "2", **step_server_environment)
    assert done.returncode == 1
    assert "was made with the data set synthetic, scale 1, seed 1, not with" in done.stderr
    assert (run_dir / "run.json").read_bytes() == before


def test_a_lookback_loads_what_was_committed_late(
    run_dir: Path, tmp_path: Path, step_server_environment: dict[str, str]
) -> None:
    """Without --lookback the record, notification and dashboard warn; with it the row is there."""
    path = tmp_path / "shop.db"
    fill_source(f"sqlite:///{path}", load_dataset("synthetic"), "2025-01-02")
    options = ["--dataset", "none", "--source", f"sqlite:///{path}", "--start", "2025-01-01"]
    assert drive(run_dir, *options, "--days", "1", **step_server_environment).returncode == 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO products SELECT 99999, sku, name, category, price_cents, created_at,"
            " 1735725600000000 FROM products WHERE id = 1"
        )
    warning = "the source has rows of products that are not loaded"
    resumed = [*options, "--resume", "--days", "2"]
    assert drive(run_dir, *resumed, **step_server_environment).returncode == 0
    steps = {step["name"]: step for step in recorded(run_dir)["intervals"][-1]["steps"]}
    assert warning in steps["load_raw"]["warnings"]
    assert warning in (run_dir / "notifications.jsonl").read_text().splitlines()[-1]
    assert warning in (run_dir / "dashboard" / "index.html").read_text()
    resumed = [*options, "--resume", "--days", "3", "--lookback", "2"]
    assert drive(run_dir, *resumed, **step_server_environment).returncode == 0
    steps = {step["name"]: step for step in recorded(run_dir)["intervals"][-1]["steps"]}
    assert steps["load_raw"]["warnings"] == ""
    assert warning not in (run_dir / "dashboard" / "index.html").read_text()


def test_a_backfill_advances_to_the_end_first(
    run_dir: Path, step_server_environment: dict[str, str]
) -> None:
    """In the mode backfill the source has advanced to the last day before the first interval."""
    options = ["--mode", "backfill", "--days", "2"]
    assert drive(run_dir, *options, **step_server_environment).returncode == 0
    assert [next(iter(event)) for event in recorded(run_dir)["history"]] == [
        "advance",
        "interval",
        "interval",
    ]
    assert_equal_to_the_oracle(run_dir)


def test_an_existing_database_is_used_as_it_is(
    run_dir: Path, tmp_path: Path, step_server_environment: dict[str, str]
) -> None:
    """--dataset none reads the database at the URL and changes nothing in it."""
    path = tmp_path / "shop.db"
    fill_source(f"sqlite:///{path}", load_dataset("synthetic", seed=3), "2025-01-02")
    with closing(sqlite3.connect(path)) as connection:
        before = list(connection.iterdump())
    options = ["--dataset", "none", "--source", f"sqlite:///{path}", "--start", "2025-01-02"]
    done = drive(run_dir, *options, "--days", "1", **step_server_environment)
    assert done.returncode == 0, done.stdout
    with closing(sqlite3.connect(path)) as connection:
        assert list(connection.iterdump()) == before
    assert_equal_to_the_oracle(run_dir)


def test_a_failed_interval_fails_the_run_and_says_where(
    run_dir: Path, step_server_environment: dict[str, str]
) -> None:
    """After a failure no further day is triggered, and the summary still has the paths.

    The fourth day is empty, so that its newest row is a whole day old.
    """
    environment = {**step_server_environment, "PIPELINE_MAX_STALENESS_HOURS": "20"}
    done = drive(run_dir, "--start", "2025-01-04", "--days", "2", **environment)
    assert done.returncode == 1
    assert "the source is stale" in done.stdout
    assert f"run record  {run_dir / 'run.json'}" in done.stdout
    values = recorded(run_dir)
    assert values["state"] == "failed"
    assert [run["state"] for run in values["intervals"]] == ["failed"]
    assert [step["name"] for step in values["intervals"][0]["steps"]] == ["check_source_freshness"]
