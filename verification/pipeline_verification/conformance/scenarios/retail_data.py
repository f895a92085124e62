"""Real retail data, day by day."""

from __future__ import annotations

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.scenario_run import Scenario, ScenarioRun


def run(scenario: ScenarioRun) -> None:
    scenario.run_day_by_day(days(scenario.dataset.first_day, 3))


SCENARIO = Scenario(
    title="Retail data",
    rule="Real, dirty data gives the oracle's tables.",
    dataset=lambda: load_dataset("complete-journey"),
    run=run,
)
