"""The specified steps ran, as the variant's own tool reports it."""

from __future__ import annotations

import pytest

from ecommerce_pipeline.interval_run import SUCCESS, IntervalRun
from pipeline_verification import checks
from pipeline_verification.finished_run import FinishedRun
from pipeline_verification.oracle.history import IntervalRun as IntervalEvent


@pytest.fixture
def latest(run: FinishedRun) -> list[IntervalRun]:
    """The latest run of each interval; a failed one may stand before it."""
    return list({interval_run.interval: interval_run for interval_run in run.intervals}.values())


def test_run_succeeded(run: FinishedRun) -> None:
    """The run as a whole is over and succeeded."""
    assert run.state == SUCCESS


def test_each_interval_succeeded(latest: list[IntervalRun]) -> None:
    """At least one interval ran, and the latest run of each succeeded."""
    assert latest
    assert {one.interval: one.state for one in latest} == {one.interval: SUCCESS for one in latest}


def test_history_names_the_intervals_that_ran(run: FinishedRun, latest: list[IntervalRun]) -> None:
    """The history from which the oracle computes holds every interval that the tool ran."""
    told = {str(event.interval) for event in run.history if isinstance(event, IntervalEvent)}
    assert {one.interval for one in latest} <= told


def test_exactly_the_specified_steps_ran(latest: list[IntervalRun]) -> None:
    """In each interval every step of the specification ran once, succeeded, and no other did."""
    faults = [fault for one in latest for fault in checks.steps_ran(one)]
    assert not faults, "\n".join(faults)


def test_steps_ran_in_the_specified_order(latest: list[IntervalRun]) -> None:
    """No step started before all steps that it waits for had ended."""
    faults = [fault for one in latest for fault in checks.steps_in_order(one)]
    assert not faults, "\n".join(faults)
