"""The equivalence suite itself: it passes on a right run and fails on each kind of wrong one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.harness.run_record import RunRecord
from ecommerce_pipeline.interval import DataInterval, days
from ecommerce_pipeline.interval_run import SUCCESS, IntervalRun, StepRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.steps.publish import publish
from pipeline_verification.checks import SNAPSHOT
from pipeline_verification.finished_run import FinishedRun
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import parse_history
from pipeline_verification.oracle.source_state import SourceState
from pipeline_verification.verdict import MARTS, RAW_TABLES, RUN_CHECKS, RunCheck, verify

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
SUITE = Path(__file__).parents[1] / "equivalence"
SECOND = timedelta(seconds=1)
NOON = datetime(2025, 1, 9, 12, tzinfo=UTC)
OPTIONS = {"seed": 3, "scale": 1}
DATASET = load_dataset("synthetic", **OPTIONS)
INTERVALS = list(days(DATASET.first_day, 2))


@pytest.fixture(scope="module")
def right_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that did everything right, made from the oracle's own tables."""
    run = RunDirectory(tmp_path_factory.mktemp("right"))
    record = RunRecord(
        variant="cron",
        form="native",
        versions={"python": "3", "duckdb": "2", "dbt-core": "1"},
        dataset={"name": "synthetic", "options": OPTIONS},
        source="sqlite",
        mode="daily",
        started_at=NOON,
        ended_at=NOON,
        state=SUCCESS,
        history=[
            entry
            for interval in INTERVALS
            for entry in (
                {"advance": interval.start.date().isoformat()},
                {"interval": str(interval), "state": SUCCESS},
            )
        ],
        intervals=[interval_run(interval) for interval in INTERVALS],
    )
    record.write(run.record)
    with duckdb.connect(run.warehouse) as connection:
        connection.execute("CREATE SCHEMA raw; CREATE SCHEMA marts; CREATE SCHEMA snapshots")
        expected = expected_tables(SourceState(DATASET), parse_history(record.history))
        for name, rows in expected.items():
            connection.register("rows", rows)
            connection.execute(f"CREATE TABLE {name} AS FROM rows")
    publish(StepContext(run, INTERVALS[-1], "sqlite:///unused"))
    run.dashboard.parent.mkdir()
    run.dashboard.write_text("<!doctype html>\n<html></html>\n")
    return run.path


def interval_run(interval: DataInterval) -> IntervalRun:
    """A run whose steps took a second each, one after the other."""
    steps = tuple(
        StepRun(
            name, SUCCESS, "ok", 1, NOON + timedelta(seconds=n), NOON + timedelta(seconds=n + 1)
        )
        for n, name in enumerate(STEP_NAMES)
    )
    return IntervalRun(str(interval), interval.label, SUCCESS, "ok", NOON, NOON, steps)


@pytest.fixture
def wrong_run(right_run: Path, tmp_path: Path) -> Path:
    """A copy of the right run, for a test to damage."""
    return Path(shutil.copytree(right_run, tmp_path / "wrong", symlinks=True))


def suite(*arguments: object) -> tuple[int, set[str], str]:
    """Run the suite: its exit code, the tests that failed, and what it printed."""
    done = subprocess.run(
        [*PYTEST, SUITE, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
    )
    failed = set(re.findall(r"^FAILED \S*::(\S+)", done.stdout, re.MULTILINE))
    return done.returncode, failed, done.stdout + done.stderr


def edit(run: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the run's record."""
    record = json.loads((run / "run.json").read_text())
    change(record)
    (run / "run.json").write_text(json.dumps(record))


def execute(run: Path, *statements: str) -> None:
    """Change the run's warehouse."""
    with duckdb.connect(run / "warehouse.duckdb") as connection:
        for statement in statements:
            connection.execute(statement)


def test_right_run_passes(right_run: Path) -> None:
    """Every test passes on a right run, also against itself; none is skipped."""
    code, failed, output = suite("--run-dir", right_run, "--against", right_run)
    assert (code, failed) == (0, set()), output
    assert "skipped" not in output


def test_wrong_tables_fail(right_run: Path, wrong_run: Path) -> None:
    """One wrong value fails its table's test, the published copy's, and the comparison."""
    execute(
        wrong_run,
        "UPDATE marts.fct_orders SET total = total + 0.01 WHERE rowid = 0",
        "UPDATE raw.page_views SET duration_seconds = NULL WHERE duration_seconds IS NOT NULL",
        "UPDATE snapshots.snap_customers SET dbt_valid_to = dbt_valid_to + INTERVAL 1 MICROSECOND",
        "CREATE TABLE marts.extra (id INTEGER)",
    )
    _, failed, output = suite("--run-dir", wrong_run, "--against", right_run)
    assert failed == {
        "test_run[marts.fct_orders]",
        "test_run[raw.page_views]",
        "test_run[customers'-history]",
        "test_run[set-of-tables]",
        "test_run[published-database]",
        "test_run[published-Parquet]",
        "test_equal_warehouses",
    }, output
    assert "marts.fct_orders: " in output
    assert "1 rows only in the oracle, such as" in output


def test_wrong_record_fails(right_run: Path, wrong_run: Path) -> None:
    """A failed run, a step that is missing or early, and another scenario fail their tests."""

    def damage(record: dict[str, Any]) -> None:
        first, second = record["intervals"]
        record["state"] = first["state"] = "failed"
        del first["steps"][3]
        second["steps"][-1]["started_at"] = "2025-01-09T12:00:00Z"
        record["mode"] = "backfill"
        record["history"].append({"advance": "2025-01-05"})

    edit(wrong_run, damage)
    _, failed, output = suite("--run-dir", wrong_run, "--against", right_run)
    assert failed == {
        "test_run[run-succeeded]",
        "test_run[intervals-ended-as-expected]",
        "test_run[steps-ran]",
        "test_run[steps-in-order]",
        "test_same_scenario",
    }, output


def delete_a_row(table: str, run: Path) -> None:
    """Delete the first row of a table of the run's warehouse."""
    execute(run, f"DELETE FROM {table} WHERE rowid = 0")


def delete_at_the_source(table: Table, run: Path) -> None:
    """Say of one more row that the source has deleted it."""
    key = ", ".join(table.key)
    execute(
        run,
        f"INSERT INTO raw.deleted_{table.name} SELECT {key} FROM raw.{table.name} WHERE rowid = 0",
    )


DAMAGES: dict[str, Callable[[Path], object]] = {
    **{name: partial(delete_a_row, name) for name in (*RAW_TABLES, *MARTS)},
    **{f"raw.deleted_{table.name}": partial(delete_at_the_source, table) for table in TABLES},
    "current customers": lambda run: execute(
        run, f"UPDATE {SNAPSHOT} SET name = name || '!' WHERE dbt_valid_to IS NULL"
    ),
    "customers' history": lambda run: execute(
        run, f"DELETE FROM {SNAPSHOT} WHERE dbt_valid_to IS NOT NULL"
    ),
    "set of tables": lambda run: execute(run, "CREATE TABLE raw.extra (id INTEGER)"),
    "published database": lambda run: execute(
        run / "published", "DELETE FROM marts.dim_products WHERE rowid = 0"
    ),
    "published Parquet": lambda run: (run / "published/marts/dim_products.parquet").unlink(),
    "dashboard": lambda run: RunDirectory(run).dashboard.write_text("<!doctype html>"),
    "run succeeded": lambda run: edit(run, lambda record: record.update(state="running")),
    "intervals ended as expected": lambda run: edit(
        run, lambda record: record["intervals"][1].update(state="failed")
    ),
    "history names every interval": lambda run: edit(run, lambda record: record["history"].pop()),
    "steps ran": lambda run: edit(run, lambda record: record["intervals"][0]["steps"].pop()),
    "steps in order": lambda run: edit(
        run, lambda record: record["intervals"][0]["steps"][-1].update(started_at=f"{NOON:%FT%TZ}")
    ),
}


@pytest.mark.parametrize("check", RUN_CHECKS, ids=lambda check: check.name)
def test_every_check_finds_its_damage(check: RunCheck, wrong_run: Path) -> None:
    """Each check of a finished run finds the damage of what it checks."""
    DAMAGES[check.name](wrong_run)
    evidence = FinishedRun.read(wrong_run).evidence()
    assert check.problems(evidence)
    assert not all(group.passed for group in verify(evidence).values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the run to check: pytest tests/equivalence --run-dir runs/cron"),
        (["--run-dir", "nowhere"], "there is no run record"),
    ],
)
def test_usage(arguments: list[str], message: str) -> None:
    """Without a run, or with a folder without one, one line says what to give."""
    code, _, output = suite(*arguments)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert message in output
