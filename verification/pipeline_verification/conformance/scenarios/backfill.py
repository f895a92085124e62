"""The source stands at its end, and the tool's own backfill catches up."""

from __future__ import annotations

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from pipeline_verification.conformance.stage import Scenario, Stage


def play(stage: Stage) -> None:
    intervals = list(days(stage.dataset.first_day, 4))
    stage.advance(intervals[-1].start.date())
    stage.backfill(intervals)


SCENARIO = Scenario(
    title="Backfill",
    rule="The tool's own backfill over several days leaves what running each of them leaves.",
    dataset=lambda: load_dataset("synthetic"),
    play=play,
)
