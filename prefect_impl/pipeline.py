"""The pipeline as a Prefect flow: one flow run for each data interval.

    PIPELINE_RUN_DIR=/srv/shop python prefect_impl/pipeline.py 2025-01-31

On a server, ``deployment.py`` adds the schedule, the settings, the limits and the automations.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

from prefect import Flow, State, Task, flow, runtime, task, unmapped
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.blocks.system import Secret
from prefect.cache_policies import INPUTS, RUN_ID
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.concurrency.sync import concurrency
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import exponential_backoff
from prefect.variables import Variable

from constants import (
    BACKFILL_FLOW,
    MAX_ATTEMPTS,
    PIPELINE_FLOW,
    SECRETS_BLOCK,
    SETTINGS_VARIABLE,
    WAREHOUSE,
)
from ecommerce_pipeline import errors, steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.step_client import run_step
from ecommerce_pipeline.interval import DAY, DataInterval, days
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS, STEP_BY_NAME
from ecommerce_pipeline.storage import journal

# A killed run keeps the warehouse until its lease expires; Prefect allows no shorter one.
LEASE_SECONDS = 60.0
# run_step kills a step at its time-out. Prefect's time-out comes later, as a second safeguard: it
# cannot interrupt the threads of mapped tasks.
GRACE_SECONDS = 30.0

Rows = dict[str, int]


def step_context(interval: DataInterval) -> StepContext:
    """The steps' input, from the environment if it names a run's folder, else from the server."""
    if "PIPELINE_RUN_DIR" in os.environ:
        return StepContext.from_environment(interval)
    settings: Any = Variable.get(SETTINGS_VARIABLE)
    secrets: Any = cast("Any", Secret.load(SECRETS_BLOCK)).get()
    return StepContext.from_environment(interval, {**settings, **secrets})


def is_retryable(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether another attempt may succeed; a failed test or a refused schema fails again."""
    return errors.is_retryable(state.result(raise_on_failure=False))


@task(
    task_run_name="{step} {context.interval.label}",
    # A resumed flow run finds its own results and skips those steps. A new run of the same interval
    # must find none: the source may have changed since.
    cache_policy=INPUTS - "context" + RUN_ID,
    cache_expiration=timedelta(days=7),
    persist_result=True,
    retry_condition_fn=is_retryable,
)
def run(step: str, context: StepContext) -> Rows:
    """Run one step of the specification in a separate process, which ends with this one."""
    result = run_step(step, context)
    print(dict(result.rows), dict(result.details))  # noqa: T201 (log_prints makes it a log)
    return dict(result.rows)


def task_options(step: str) -> dict[str, Any]:
    """The step's own name, retries and time-out."""
    specification = STEP_BY_NAME[step]
    return {
        "name": step,
        "retries": specification.retries,
        "retry_delay_seconds": exponential_backoff(specification.retry_delay_seconds),
        "timeout_seconds": specification.timeout_seconds + GRACE_SECONDS,
    }


def interval_of(text: str | None, scheduled: datetime) -> DataInterval:
    """The given interval, else the UTC day before the one for which the run was scheduled."""
    if text is not None:
        return DataInterval.parse(text)
    return DataInterval.for_day(scheduled.astimezone(UTC).date() - DAY)


def current_interval() -> DataInterval:
    """The data interval of the current flow run."""
    this = runtime.flow_run
    return interval_of(this.parameters.get("interval"), this.scheduled_start_time)


def flow_run_name() -> str:
    """The interval's label, or the parameter as it is."""
    try:
        return current_interval().label
    except PipelineError:  # the flow itself fails with this message
        return str(runtime.flow_run.parameters["interval"])


def notify_failure(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Notify of a run that failed, or crashed and will not be resumed, with its failed steps."""
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(flow_run.id)  # the worker passes one from before the start
    if state.is_crashed() and 0 < flow_run.run_count < MAX_ATTEMPTS:
        return
    scheduled = cast("datetime", flow_run.expected_start_time)
    interval = interval_of(flow_run.parameters.get("interval"), scheduled)
    context = step_context(interval)
    started = flow_run.start_time or datetime.now(UTC)  # without a start there was no attempt
    failed = journal.failed_steps(journal.read(context.run, interval), since=started)
    reason = "; ".join(failed.values()) or state.message or ""
    steps.notify_failure(context, step=", ".join(failed), reason=reason)


side_by_side: Any = ThreadPoolTaskRunner(max_workers=MAX_PARALLEL_STEPS)


@flow(
    name=PIPELINE_FLOW,
    flow_run_name=flow_run_name,
    task_runner=side_by_side,
    persist_result=True,  # a resumed backfill skips the completed intervals
    on_failure=[notify_failure],
    on_crashed=[notify_failure],
    log_prints=True,
)
def pipeline(interval: str | None = None) -> dict[str, Rows]:
    """Run every step of one data interval, each after those it needs.

    Args:
        interval: ``2025-01-31`` or ``START/END``; default: the UTC day before the scheduled start.
    """
    context = step_context(current_interval())
    rows: dict[str, Rows] = {}

    def step(name: str) -> None:
        upstream = [rows[other] for other in STEP_BY_NAME[name].upstream]
        task = run.with_options(**task_options(name))
        rows[name] = task(name, context, wait_for=upstream)

    step("check_source_freshness")
    fresh = [rows["check_source_freshness"]]
    extract = run.with_options(**task_options(EXTRACT_STEPS[0]))
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


def report(context: StepContext, rows: dict[str, Rows]) -> None:
    """Create the run's artifacts: a table of rows, and a page that links to the dashboard."""
    table = [
        {"step": step, "table": name, "rows": count}
        for step, counts in rows.items()
        for name, count in counts.items()
    ]
    run, interval = context.run, context.interval
    create_table_artifact(table, key="rows", description=f"Rows of {interval}")
    create_markdown_artifact(
        f"# {interval.label}\n\n"
        f"- [Dashboard]({run.dashboard.as_uri()})\n"
        f"- Published copy: `{run.published}`\n"
        f"- Record of all runs: `{run.record}`\n",
        key="report",
        description=f"Results of the run of {interval}",
    )


if __name__ == "__main__":
    if "PIPELINE_RUN_DIR" in os.environ or len(sys.argv) > 1:
        arguments = sys.argv[1:]
    else:  # without a run's folder and an interval: a small shop to try the flow
        from small_shop import create_small_shop

        arguments = [create_small_shop()]
    # The temporary server migrates an empty database first; the default of 20 s can be too short.
    with temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 180}):
        pipeline(*arguments)
