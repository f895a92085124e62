"""What the benchmark ``pipeline`` prepares and derives."""

from __future__ import annotations

from pathlib import Path

import pytest

from definitions.pipeline import FIRST_DAY, against_the_floor, sample_setups
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DAY, DataInterval
from ecommerce_pipeline.interval_run import IntervalRun, StepRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from measuring.interval_cost import raise_if_incomplete
from measuring.run_folders import RunFolders, SampleSetup

INTERVAL = DataInterval.for_day(FIRST_DAY)


def test_goal() -> None:
    """The goal's number is the seconds over the control's and the variant's own floor together."""
    variant = {"daily": {"seconds": 9.0}, "daily-noop": {"seconds": 4.0}}
    derived = against_the_floor(variant, {"daily": {"seconds": 6.0}})
    assert derived == {"daily": {"floor_seconds": 4.0, "goal": 0.9}}


def test_goal_without_the_control() -> None:
    """Where the control failed in that round there is a floor but no goal."""
    variant = {"daily": {"seconds": 9.0}, "daily-noop": {"seconds": 4.0}}
    assert against_the_floor(variant, {}) == {"daily": {"floor_seconds": 4.0}}


def test_no_day_runs_twice() -> None:
    """Warm-up, daily runs and backfill are of different days, so that no tool ran one before."""
    planned = sample_setups(3, 14)
    used = [i for name in ("daily", "backfill", "warm-up") for i in planned[name].intervals]
    assert used == [DataInterval.for_day(FIRST_DAY + number * DAY) for number in range(18)]


def test_reset(tmp_path: Path) -> None:
    """A reset leaves the data that the case starts from, and the tool's own home."""
    folders = RunFolders(
        tmp_path / "folders", {"daily": SampleSetup([]), "next": SampleSetup([], after="daily")}
    )
    run = RunDirectory(tmp_path / "run")
    version = run.published_versions / "000001"
    version.mkdir(parents=True)
    run.published.symlink_to(version.relative_to(run.path))
    run.tool_home.mkdir()
    (run.path / "landing").mkdir()
    run.warehouse.write_text("after daily")
    folders.store_reference(run, "daily")
    folders.reset(run, "daily")
    assert [file.name for file in run.path.iterdir()] == ["tool"]
    run.warehouse.write_text("of another case")
    folders.reset(run, "next")
    assert run.warehouse.read_text() == "after daily"
    assert run.published.resolve() == version


def _run(state: str = "success", steps: tuple[str, ...] = STEP_NAMES) -> IntervalRun:
    steps_run = tuple(StepRun(name, "success", "success", 1, None, None) for name in steps)
    return IntervalRun(str(INTERVAL), "run", state, state, None, None, steps_run)


def test_complete() -> None:
    """A successful run with all steps is accepted."""
    raise_if_incomplete([_run()], [INTERVAL])


@pytest.mark.parametrize(
    ("runs", "reason"),
    [
        ([], "0 of 1 intervals ran"),
        ([_run("failed")], "is failed"),
        ([_run(steps=STEP_NAMES[1:])], "had the steps"),
    ],
)
def test_incomplete(runs: list[IntervalRun], reason: str) -> None:
    """A missing or failed run and a missing step get no number."""
    with pytest.raises(PipelineError, match=reason):
        raise_if_incomplete(runs, [INTERVAL])
