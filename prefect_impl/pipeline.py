"""The pipeline as a Prefect flow: one flow run for each data interval.

    PIPELINE_RUN_DIR=/srv/shop python prefect_impl/pipeline.py 2025-01-31

On a server, ``deployment.py`` adds the schedule, the settings, the limits and the automations.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any, cast

from prefect import Flow, State, Task, flow, get_run_logger, runtime, task, unmapped
from prefect.cache_policies import INPUTS, RUN_ID
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff

from constants import BACKFILL_FLOW, MAX_ATTEMPTS, PIPELINE_FLOW, WAREHOUSE
from dbt_session import dbt_session
from ecommerce_pipeline import errors, steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner import native
from ecommerce_pipeline.interval import DAY, days
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS, STEP_BY_NAME
from report import Rows, report
from settings import data_interval, flow_run_name, step_context

# A killed run keeps the warehouse until its lease expires; Prefect allows no shorter one.
LEASE_SECONDS = 60.0


# A resumed flow run finds its own results and skips those steps. A new run of the same interval
# must find none: the source may have changed since.
resumable: Any = partial(
    task,
    task_run_name="{step} {context.interval.label}",
    cache_policy=INPUTS - "context" + RUN_ID,
    cache_expiration=timedelta(days=7),
    persist_result=True,
)


@resumable
def run_step(step: str, context: StepContext) -> Rows:
    """Run one Python step."""
    result = steps.run(step, context)
    get_run_logger().info(result.summary)
    return dict(result.rows)


@resumable
def run_dbt(step: str, context: StepContext) -> Rows:
    """Run one dbt step: dbt's command on the step's selector, with a task run for each node."""
    from prefect_dbt import PrefectDbtRunner  # here: the worker loads this file without dbt

    with native.attempt(step, context) as dbt, dbt_session(step, context) as manifest:
        # The attempt raises what dbt's results say.
        runner = PrefectDbtRunner(manifest=manifest, raise_on_failure=False)
        runner.invoke(native.arguments(step)).result.write(str(dbt.target / native.RESULTS))
    get_run_logger().info(dbt.result.summary)
    return dict(dbt.result.rows)


def is_retryable(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether another attempt may succeed; a failed test or a refused schema fails again."""
    return errors.is_retryable(state.result(raise_on_failure=False))


def task_options(step: str) -> dict[str, Any]:
    """A step's own name, retries and time-out."""
    specification = STEP_BY_NAME[step]
    return {
        "name": step,
        "retries": specification.retries,
        "retry_delay_seconds": exponential_backoff(specification.retry_delay_seconds),
        "retry_condition_fn": is_retryable,
        "timeout_seconds": specification.timeout_seconds,
    }


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notify of a run that failed, or crashed and will not be resumed, with its failed steps."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(flow_run.id)  # the worker passes one from before the start
    if state.is_crashed() and 0 < flow_run.run_count < MAX_ATTEMPTS:
        return
    scheduled = cast("datetime", flow_run.expected_start_time)
    interval = data_interval(flow_run.parameters.get("interval"), scheduled)
    started = flow_run.start_time or datetime.now(UTC)  # without a start there was no attempt
    steps.notify_failure(step_context(interval), state.message or "", since=started)


side_by_side: Any = ThreadPoolTaskRunner(max_workers=MAX_PARALLEL_STEPS)


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

    def step(name: str, run: Task[..., Rows] = run_step) -> None:
        upstream = [rows[other] for other in STEP_BY_NAME[name].upstream]
        rows[name] = run.with_options(**task_options(name))(name, context, wait_for=upstream)

    step("check_source_freshness")
    fresh = [rows["check_source_freshness"]]
    extract = run_step.with_options(**task_options(EXTRACT_STEPS[0]))
    extracts = extract.map(EXTRACT_STEPS, unmapped(context), wait_for=fresh)
    extracts.wait()
    rows.update(zip(EXTRACT_STEPS, extracts.result(), strict=True))
    with concurrency(WAREHOUSE, lease_duration=LEASE_SECONDS):
        step("load_raw")
        step("dbt_run_staging", run_dbt)
        step("dbt_test_staging", run_dbt)
        step("dbt_snapshot", run_dbt)
        step("dbt_run_marts", run_dbt)
        step("dbt_test_marts", run_dbt)
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
