"""A bad row on the second day: the staging test stops the run; the day runs again when fixed."""

from __future__ import annotations

import pyarrow as pa

from ecommerce_pipeline.contract import ORDERS
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from ecommerce_pipeline.source.base import TableChanges
from pipeline_verification.checks import published_digests
from pipeline_verification.conformance.scenario_run import POSTGRES, Scenario, ScenarioRun

GATE = "dbt_test_staging"


def run(scenario: ScenarioRun) -> None:
    first, second = days(scenario.dataset.first_day, 2)
    scenario.advance(first.start.date())
    scenario.run_interval(first)
    before = published_digests(scenario.folder)
    scenario.advance(second.start.date())
    row = _an_order(scenario)
    scenario.change_source(_with_status(row, "lost"))
    scenario.run_interval(second, fails_at=GATE)
    after = published_digests(scenario.folder)
    scenario.check(
        "published copy unchanged",
        sorted(f"{name} changed" for name in _changed(before, after)),
        f"{len(before)} files are the same, byte for byte",
    )
    # The row is as the data set has it again, so the oracle needs to know of neither change.
    scenario.change_source(TableChanges(ORDERS.name, row))
    scenario.run_interval(second)


def _an_order(scenario: ScenarioRun) -> pa.Table:
    """The order that the second day changes last, as it leaves it."""
    _, second = days(scenario.dataset.first_day, 2)
    changes = scenario.dataset.changes(second.start.date())
    orders = [c.upserts for c in changes if c.table == ORDERS.name and c.upserts.num_rows]
    return orders[-1].slice(orders[-1].num_rows - 1)


def _with_status(row: pa.Table, status: str) -> TableChanges:
    """The order with a status that no order may have."""
    position = row.schema.get_field_index("status")
    bad = row.set_column(position, row.schema.field(position), pa.array([status]))
    return TableChanges(ORDERS.name, bad)


def _changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name, _ in before.items() ^ after.items()}


SCENARIO = Scenario(
    title="A failing staging test",
    rule="A failed test stops every later step, keeps the published copy, and notifies once.",
    dataset=lambda: load_dataset("synthetic"),
    run=run,
    source=POSTGRES,
    quick=True,
)
