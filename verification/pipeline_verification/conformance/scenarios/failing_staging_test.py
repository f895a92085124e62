"""A bad row on the second day: the gate holds, and the day is run again once the row is fixed."""

from __future__ import annotations

import pyarrow as pa

from ecommerce_pipeline.contract import ORDERS
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.interval import days
from ecommerce_pipeline.source.base import TableChanges
from pipeline_verification.checks import readers_view
from pipeline_verification.conformance.stage import POSTGRES, Scenario, Stage

GATE = "dbt_test_staging"


def play(stage: Stage) -> None:
    first, second = days(stage.dataset.first_day, 2)
    stage.advance(first.start.date())
    stage.run_interval(first)
    before = readers_view(stage.run)
    stage.advance(second.start.date())
    row = _an_order(stage)
    stage.change_source(_with_status(row, "lost"))
    stage.run_interval(second, fails_at=GATE)
    after = readers_view(stage.run)
    stage.check(
        "readers untouched",
        sorted(f"{name} changed" for name in _changed(before, after)),
        f"{len(before)} files are the same, byte for byte",
    )
    stage.change_source(TableChanges(ORDERS.name, row))
    stage.run_interval(second)


def _an_order(stage: Stage) -> pa.Table:
    """The order that the second day changes last, as it leaves it."""
    _, second = days(stage.dataset.first_day, 2)
    changes = stage.dataset.changes(second.start.date())
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
    rule="A failed test stops every later step, leaves readers their copy, and is told once.",
    dataset=lambda: load_dataset("synthetic"),
    play=play,
    source=POSTGRES,
    quick=True,
)
