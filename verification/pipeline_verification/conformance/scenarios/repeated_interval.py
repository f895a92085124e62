"""Days out of order, and one of them a second time."""

from __future__ import annotations

import shutil

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import DataInterval, days
from pipeline_verification.checks import Tables
from pipeline_verification.compare import compare, compare_table
from pipeline_verification.conformance.scenario_run import Scenario, ScenarioRun
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import Event, IntervalSucceeded, SourceAdvanced
from pipeline_verification.oracle.source_state import SourceState

SCHEMAS = ("raw", "marts")  # the snapshot's history depends on the order of the runs


def run(scenario: ScenarioRun) -> None:
    first, second, third = days(scenario.dataset.first_day, 3)
    scenario.advance(third.start.date())
    for interval in (second, first, third):
        scenario.run_interval(interval)
    once = scenario.folder.path / "once.duckdb"
    shutil.copyfile(scenario.folder.warehouse, once)
    scenario.run_interval(second)
    scenario.check(
        "as run once",
        compare(once, scenario.folder.warehouse, schemas=SCHEMAS),
        "raw tables and marts are as before the repetition",
    )
    ordered = _in_order(scenario, SourceAdvanced(third.start.date()), first, second, third)
    scenario.check(
        "as run in order",
        [
            difference
            for name, rows in ordered.items()
            if name.startswith(SCHEMAS)
            for difference in compare_table(scenario.folder.warehouse, name, rows)
        ],
        "raw tables and marts are as after the days in order",
    )


def _in_order(scenario: ScenarioRun, advanced: SourceAdvanced, *intervals: DataInterval) -> Tables:
    """The oracle's tables for the same days, each run once and in order."""
    history: list[Event] = [advanced, *map(IntervalSucceeded, intervals)]
    return expected_tables(SourceState(scenario.dataset), history)


SCENARIO = Scenario(
    title="A repeated interval",
    rule="Running an interval again, or days out of order, gives the same raw tables and marts.",
    dataset=lambda: load_dataset("synthetic"),
    run=run,
)
