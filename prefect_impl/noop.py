"""The pipeline's steps in the same order, all doing nothing: measures Prefect's own cost."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow, task
from prefect.concurrency.sync import concurrency
from prefect.task_runners import ThreadPoolTaskRunner

from constants import BACKFILL_FLOW, PIPELINE_FLOW, WAREHOUSE
from ecommerce_pipeline.interval import DAY, days
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS, STEP_NAMES

side_by_side: Any = ThreadPoolTaskRunner(max_workers=MAX_PARALLEL_STEPS)


@task(task_run_name="{step}")
def do_nothing(step: str) -> None:
    """Take the place of a step."""


@flow(name=PIPELINE_FLOW, flow_run_name="{interval}", task_runner=side_by_side)
def pipeline(interval: str) -> None:
    """Run every step of one data interval, each after those it needs."""
    first, *others = [name for name in STEP_NAMES if name not in EXTRACT_STEPS]
    do_nothing(first)
    do_nothing.map(EXTRACT_STEPS).result()
    with concurrency(WAREHOUSE):
        for name in others:
            do_nothing(name)


@flow(name=BACKFILL_FLOW)
def backfill(first_day: date, last_day: date) -> None:
    """Run it for each day from the first to the last, oldest first."""
    for interval in days(first_day, (last_day - first_day) // DAY + 1):
        pipeline(str(interval))
