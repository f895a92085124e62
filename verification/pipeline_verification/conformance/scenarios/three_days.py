"""The source advances day by day, and each day's interval runs."""

from __future__ import annotations

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.scenario_run import POSTGRES, Scenario, ScenarioRun


def run(scenario: ScenarioRun) -> None:
    scenario.run_day_by_day(days(scenario.dataset.first_day, 3))


SCENARIO = Scenario(
    title="Three days",
    rule="Days that run one after the other give the oracle's tables, read from the source.",
    dataset=lambda: load_dataset("synthetic"),
    run=run,
    source=POSTGRES,
)
