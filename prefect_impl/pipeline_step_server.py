"""The pipeline as a Prefect flow whose steps are children of a warm process that has imported dbt.

    PIPELINE_RUN_DIR=/srv/shop python prefect_impl/pipeline_step_server.py 2025-01-31

``pipeline.py`` is the native form; what is the same is imported from there.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow, get_run_logger, runtime, unmapped
from prefect.concurrency.sync import concurrency

import pipeline as native
from constants import BACKFILL_FLOW, PIPELINE_FLOW, WAREHOUSE
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.execution import step_client
from ecommerce_pipeline.interval import DAY, days
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_BY_NAME
from pipeline import LEASE_SECONDS, notify_failure, resumable, side_by_side
from report import Rows, report
from settings import data_interval, flow_run_name, step_context

# The step's process is killed at the step's time-out. Prefect's time-out comes later, as a second
# safeguard: it cannot interrupt the threads of mapped tasks.
GRACE_SECONDS = 30.0


@resumable
def run_step(step: str, context: StepContext) -> Rows:
    """Run one step of the specification in a separate process, which ends with this one."""
    result = step_client.run_step(step, context)
    get_run_logger().info(result.summary)
    return dict(result.rows)


def task_options(step: str) -> dict[str, Any]:
    """A step's own name, retries and time-out."""
    options = native.task_options(step)
    return {**options, "timeout_seconds": options["timeout_seconds"] + GRACE_SECONDS}


@flow(
    name=PIPELINE_FLOW,
    flow_run_name=flow_run_name,
    task_runner=side_by_side,
    persist_result=True,  # a resumed backfill skips the completed intervals
    on_failure=[notify_failure],
    on_crashed=[notify_failure],
)
def pipeline(interval: str | None = None) -> dict[str, Rows]:
    """Run every step of one data interval, each after those it needs.

    Args:
        interval: ``2025-01-31`` or ``START/END``; default: the UTC day before the scheduled start.
    """
    context = step_context(data_interval(interval, runtime.flow_run.scheduled_start_time))
    rows: dict[str, Rows] = {}

    def step(name: str) -> None:
        upstream = [rows[other] for other in STEP_BY_NAME[name].upstream]
        rows[name] = run_step.with_options(**task_options(name))(name, context, wait_for=upstream)

    step("check_source_freshness")
    fresh = [rows["check_source_freshness"]]
    extract = run_step.with_options(**task_options(EXTRACT_STEPS[0]))
    extracts = extract.map(EXTRACT_STEPS, unmapped(context), wait_for=fresh)
    extracts.wait()
    rows.update(zip(EXTRACT_STEPS, extracts.result(), strict=True))
    with concurrency(WAREHOUSE, lease_duration=LEASE_SECONDS):
        step("load_raw")
        step("dbt_run_staging")
        step("dbt_test_staging")
        step("dbt_snapshot")
        step("dbt_run_marts")
        step("dbt_test_marts")
        step("validate_output")
        step("publish")
    step("refresh_dashboard")
    step("notify_slack")
    report(context, rows)
    return rows


@flow(name=BACKFILL_FLOW, flow_run_name="{first_day} to {last_day}", persist_result=True)
def backfill(first_day: date, last_day: date) -> None:
    """Run the pipeline for each day from the first to the last, oldest first, as subflow runs.

    A retry resumes at the day, and the step, at which it stopped.
    """
    for interval in days(first_day, (last_day - first_day) // DAY + 1):
        pipeline(str(interval))


if __name__ == "__main__":
    from script import run_script

    run_script(pipeline)
