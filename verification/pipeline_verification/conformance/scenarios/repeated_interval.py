"""Days out of order, and one of them once more."""

from __future__ import annotations

import shutil

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import DataInterval, days
from pipeline_verification.checks import Tables
from pipeline_verification.compare import compare, compare_table
from pipeline_verification.conformance.stage import Scenario, Stage
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import Event, IntervalSucceeded, SourceAdvanced
from pipeline_verification.oracle.source_state import SourceState

SCHEMAS = ("raw", "marts")


def play(stage: Stage) -> None:
    first, second, third = days(stage.dataset.first_day, 3)
    stage.advance(third.start.date())
    for interval in (second, first, third):
        stage.run_interval(interval)
    once = stage.run.path / "once.duckdb"
    shutil.copyfile(stage.run.warehouse, once)
    stage.run_interval(second)
    stage.check(
        "as run once",
        compare(once, stage.run.warehouse, schemas=SCHEMAS),
        "raw tables and marts are those of before the repetition",
    )
    ordered = _in_order(stage, SourceAdvanced(third.start.date()), first, second, third)
    stage.check(
        "as run in order",
        [
            difference
            for name, rows in ordered.items()
            if name.startswith(SCHEMAS)
            for difference in compare_table(stage.run.warehouse, name, rows)
        ],
        "raw tables and marts are those of the days in their order",
    )


def _in_order(stage: Stage, advanced: SourceAdvanced, *intervals: DataInterval) -> Tables:
    """What the oracle expects of the same days, each run once and in order."""
    history: list[Event] = [advanced, *map(IntervalSucceeded, intervals)]
    return expected_tables(SourceState(stage.dataset), history)


SCENARIO = Scenario(
    title="A repeated interval",
    rule="Running an interval again, or days out of order, leaves the same raw tables and marts.",
    dataset=lambda: load_dataset("synthetic"),
    play=play,
)
