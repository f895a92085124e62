"""Real retail data, day by day."""

from __future__ import annotations

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.stage import Scenario, Stage


def play(stage: Stage) -> None:
    stage.run_day_by_day(days(stage.dataset.first_day, 3))


SCENARIO = Scenario(
    title="Retail data",
    rule="Real and dirty data comes through as it is.",
    dataset=lambda: load_dataset("complete-journey"),
    play=play,
)
