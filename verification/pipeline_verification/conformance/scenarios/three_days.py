"""The source advances day by day, and each day is run."""

from __future__ import annotations

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.stage import POSTGRES, Scenario, Stage


def play(stage: Stage) -> None:
    stage.run_day_by_day(days(stage.dataset.first_day, 3))


SCENARIO = Scenario(
    title="Three days",
    rule="Days that are run one after the other leave what the source held, read from the source.",
    dataset=lambda: load_dataset("synthetic"),
    play=play,
    source=POSTGRES,
)
