"""A few random kills of the control, and that their comparison sees what it must see."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from ecommerce_pipeline.harness.variant import STEP_SERVER
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.random_kills.control_kill import ControlKills
from pipeline_verification.random_kills.draw import MODES, Draw
from pipeline_verification.random_kills.kill import NOT_RECOVERED
from pipeline_verification.random_kills.prepared import (
    Control,
    PreparedDay,
    copy,
    unlike_the_oracle,
)
from pipeline_verification.random_kills.reader import polling, read_once
from pipeline_verification.random_kills.record import ResultFile, read

SEEDS = (4, 6, 7)  # the last one is of run.py, which is resumed
CONTROL = Control(Path(sys.executable))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedDay:
    """Two days of the control, up to the second and without interruption."""
    return PreparedDay.prepare(tmp_path_factory.mktemp("prepared") / "days", CONTROL, MODES)


@pytest.fixture
def uninterrupted(prepared: PreparedDay, tmp_path: Path) -> RunDirectory:
    """A copy of the uninterrupted day, which a test may change."""
    return copy(prepared.uninterrupted, tmp_path / "run")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_day_of_the_control_is_equal_after_it_ran_again(
    prepared: PreparedDay, tmp_path: Path, seed: int
) -> None:
    """After SIGKILL of a random process, the day that ran again is as if nothing had happened."""
    kill = ControlKills(prepared, CONTROL, tmp_path).make(Draw.of(seed, MODES))
    assert (kill.differing, kill.problems) == ([], [])
    assert kill.recovered_by != NOT_RECOVERED
    assert kill.reads > 0
    results = ResultFile(tmp_path / "results.json", "cron", STEP_SERVER)
    results.add(kill)
    assert [values["seed"] for values in read(results.path)["kills"]] == [seed]
    assert ResultFile(results.path, "cron", STEP_SERVER).kills == [kill]


def test_the_uninterrupted_day_is_equal(prepared: PreparedDay, uninterrupted: RunDirectory) -> None:
    """The day that nobody killed has no difference, also none from the oracle."""
    assert prepared.differences(uninterrupted) == []
    assert unlike_the_oracle(uninterrupted) == []


def test_a_changed_row_is_a_difference(prepared: PreparedDay, uninterrupted: RunDirectory) -> None:
    """One changed value in a table that is not published is found, and its table named."""
    with duckdb.connect(uninterrupted.warehouse) as connection:
        connection.execute("UPDATE raw.loaded_intervals SET row_count = row_count + 1")
    differences = prepared.differences(uninterrupted)
    assert {difference.table for difference in differences} == {"raw.loaded_intervals"}


def test_a_dashboard_of_another_day_is_a_difference(
    prepared: PreparedDay, uninterrupted: RunDirectory
) -> None:
    """A dashboard that was not made again after the kill is found."""
    uninterrupted.dashboard.write_bytes(prepared.before.dashboard.read_bytes())
    differences = prepared.differences(uninterrupted)
    assert [difference.table for difference in differences] == ["dashboard"]


def test_a_reader_of_a_whole_version_sees_no_problem(
    prepared: PreparedDay, uninterrupted: RunDirectory
) -> None:
    """Neither the version before the day nor the one after it is a problem."""
    for run in (prepared.before, uninterrupted):
        assert read_once(run, prepared.manifests) == []


def remove_manifest(version: Path) -> None:
    (version / "manifest.json").unlink()


def replace_table(version: Path) -> None:
    file = version / "marts" / "fct_orders.parquet"
    file.chmod(0o644)
    duckdb.execute(f"COPY (FROM read_parquet('{file}') LIMIT 1) TO '{file}.new' (FORMAT parquet)")
    Path(f"{file}.new").replace(file)


def change_manifest(version: Path) -> None:
    file = version / "manifest.json"
    text = file.read_text()
    file.chmod(0o644)
    file.write_text(re.sub(r'"interval": "2025-01-02', '"interval": "2025-01-01', text, count=1))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (remove_manifest, "nothing is published"),
        (replace_table, "marts.fct_orders is not as its manifest says"),
        (change_manifest, "the manifest is of no whole version"),
    ],
)
def test_a_reader_of_half_a_version_sees_it(
    prepared: PreparedDay,
    uninterrupted: RunDirectory,
    damage: Callable[[Path], None],
    problem: str,
) -> None:
    """A missing or foreign part of the published copy is a problem."""
    version = uninterrupted.published.resolve()
    version.chmod(0o755)
    damage(version)
    with polling(uninterrupted, prepared.manifests) as readings:
        pass
    assert any(problem in found for found in readings.problems), readings.problems
