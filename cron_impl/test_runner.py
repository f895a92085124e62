"""The control's retries, notifications and records, with steps that do nothing or fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import runner
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError, is_retryable
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_BY_NAME
from runner import IntervalRunner

DAY = DataInterval.parse("2025-01-01")
STEP = "load_raw"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StepContext:
    """A context whose step is tried again without a wait."""
    options = {**runner.task_options(STEP), "wait": lambda state: 0}
    monkeypatch.setattr(runner, "task_options", lambda step: options)
    return StepContext(RunDirectory(tmp_path), DAY, source_url="sqlite:///none")


def failing(error: BaseException, times: int = 99) -> Callable[[str, StepContext], None]:
    """A step that fails so many times."""
    left = [error] * times

    def step(name: str, context: StepContext) -> None:
        if left:
            raise left.pop()

    return step


def notifications(context: StepContext) -> list[str]:
    file = context.run.notifications
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize(
    ("error", "retried"),
    [
        (PipelineError("unreachable", "wait", retryable=True), True),
        (PipelineError("a test failed", "correct the rows"), False),
        (OSError("a broken pipe"), True),  # as the three orchestrators do
        (KeyboardInterrupt(), False),
    ],
)
def test_the_rule_of_retries(context: StepContext, error: BaseException, retried: bool) -> None:
    """Whatever is not known to fail again is tried again, as often as the specification says."""
    assert is_retryable(error) == retried
    with pytest.raises(type(error)), IntervalRunner(context) as run:
        run.step(STEP, failing(error))
    (step,) = json.loads(context.run.interval_record(DAY).read_text())["steps"]
    assert step["attempts"] == (1 + STEP_BY_NAME[STEP].retries if retried else 1)
    assert step["state"] == "failed"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PipelineError("a test failed", "correct the rows"), "a test failed; correct the rows"),
        (OSError("a broken pipe"), "OSError: a broken pipe"),
    ],
)
def test_every_failure_notifies(context: StepContext, error: Exception, reason: str) -> None:
    """A failure of any kind is notified once, with its step and its reason."""
    with pytest.raises(type(error)), IntervalRunner(context) as run:
        run.step(STEP, failing(error))
    (line,) = notifications(context)
    assert STEP in line
    assert reason in line


def test_a_record_that_cannot_be_written_hides_neither_error_nor_notification(
    context: StepContext,
) -> None:
    """The step's own error is raised and notified where the run's record is refused."""
    error = PipelineError("a test failed", "correct the rows")
    with pytest.raises(PipelineError, match="a test failed"):
        run_and_forbid_the_record(context, failing(error))
    (line,) = notifications(context)
    assert "a test failed" in line


def test_a_run_whose_record_cannot_be_written_fails(context: StepContext) -> None:
    """Without a record the run is no success: one line names the file, and it is notified."""
    for _ in range(2):  # refused at the run's end, and at the next one's start
        with pytest.raises(PipelineError, match=r"record .*run\.json cannot be written: "):
            run_and_forbid_the_record(context, failing(OSError(), times=0))
    assert len(notifications(context)) == 2


def run_and_forbid_the_record(
    context: StepContext, step: Callable[[str, StepContext], None]
) -> None:
    """Run one step, and put a folder, over which no file can be renamed, in the record's place."""
    with IntervalRunner(context) as run:
        record = context.run.interval_record(DAY)
        record.unlink()
        record.mkdir()
        run.step(STEP, step)
