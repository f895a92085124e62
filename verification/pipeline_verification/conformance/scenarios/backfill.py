"""The source advances to the last day; then the tool's own backfill runs all days."""

from __future__ import annotations

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.scenario_run import Scenario, ScenarioRun


def run(scenario: ScenarioRun) -> None:
    intervals = list(days(scenario.dataset.first_day, 4))
    scenario.advance(intervals[-1].start.date())
    scenario.backfill(intervals)


SCENARIO = Scenario(
    title="Backfill",
    rule="The tool's own backfill over several days gives the oracle's tables.",
    dataset=lambda: load_dataset("synthetic"),
    run=run,
)
