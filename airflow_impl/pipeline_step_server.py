"""The pipeline under Airflow: each UTC day is processed at six the morning after.

It needs the connections `source_db` and `slack`, the variable `pipeline_run_dir` and the one-slot
pool `warehouse`. A run can be cleared, repeated or backfilled at any time: every step is
idempotent, atomic, and keyed on the run's data interval. A failed test stops all later steps, and
the published copy stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    Connection,
    Context,
    TaskGroup,
    Variable,
    XComArg,
    chain,
    dag,
    get_current_context,
    task,
)
from airflow.sdk.exceptions import AirflowFailException
from utc_days import UtcDays

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError, is_retryable
from ecommerce_pipeline.execution import step_client
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS, STEP_BY_NAME
from ecommerce_pipeline.storage import journal

WAREHOUSE_POOL = "warehouse"  # one slot: DuckDB lets one process at a time open its file
OPTIONAL_SETTINGS = (
    "PIPELINE_MAX_STALENESS_HOURS",
    "PIPELINE_LOOKBACK",
    "PIPELINE_MAX_KEY_LOSS",
    "PIPELINE_KEY_SNAPSHOT_ROWS",
)
MARTS = Asset(name="marts", uri="x-ecommerce://published/marts")
DASHBOARD = Asset(name="dashboard", uri="x-ecommerce://dashboard")


def step_context(context: Context) -> StepContext:
    """The steps' input: the run's data interval, and Airflow's connections and variables."""
    variables = {name: Variable.get(name.lower(), None) for name in OPTIONAL_SETTINGS}
    settings = {
        "PIPELINE_RUN_DIR": Variable.get("pipeline_run_dir"),
        "PIPELINE_SOURCE_URL": database_url(Connection.get("source_db")),
        "PIPELINE_SLACK_WEBHOOK_URL": Connection.get("slack").password or "",
        **{name: str(value) for name, value in variables.items() if value is not None},
    }
    return StepContext.from_environment(data_interval(context), settings)


def data_interval(context: Context) -> DataInterval:
    """The interval of a scheduled, a backfill or a manual run."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None:
        raise PipelineError("the run has no data interval", "trigger it with a logical date")
    return DataInterval(start.astimezone(UTC), end.astimezone(UTC))


def database_url(connection: Connection) -> str:
    """A connection of type ``sqlite`` or ``postgres`` as a URL."""
    if connection.conn_type == "sqlite":
        return f"sqlite:///{connection.host}"  # get_uri would encode the path as a host name
    return connection.get_uri().replace("+", "%20")  # libpq does not decode "+" to a space


@task
def run_step(step: str) -> dict[str, int]:
    """Run one step of the specification; its row counts go to XCom."""
    try:
        result = step_client.run_step(step, step_context(get_current_context()))
    except PipelineError as error:
        if is_retryable(error):
            raise
        raise AirflowFailException(str(error)) from None  # Airflow does not retry this exception
    return dict(result.rows)


def task_options(step: str) -> dict[str, Any]:
    """A step's retries, time-out and pool."""
    specification = STEP_BY_NAME[step]
    return {
        "retries": specification.retries,
        "retry_delay": timedelta(seconds=specification.retry_delay_seconds),
        "execution_timeout": timedelta(seconds=specification.timeout_seconds),
        "pool": WAREHOUSE_POOL if specification.uses_warehouse else "default_pool",
    }


def step(name: str, inlets: Sequence[Asset] = (), outlets: Sequence[Asset] = ()) -> XComArg:
    """The task of one step, under the step's name."""
    options = {**task_options(name), "inlets": inlets, "outlets": outlets}
    return run_step.override(task_id=name, **options)(name)


def extract() -> XComArg:
    """One task mapped over the tables, two instances at a time."""
    return run_step.override(
        task_id="extract",
        map_index_template="{{ task.op_kwargs['step'] }}",
        max_active_tis_per_dagrun=MAX_PARALLEL_STEPS,
        **task_options(EXTRACT_STEPS[0]),
    ).expand(step=EXTRACT_STEPS)


def notify_failure(context: Context) -> None:
    """Notify once for each failed run at which step it failed and why."""
    run_context = step_context(context)
    attempts = journal.read(run_context.run, run_context.interval)
    started = context["dag_run"].start_date or datetime.now(UTC)
    # Airflow's reason is general; the journal has the steps' own messages. It has none of a step
    # whose task was killed with its process.
    failed = journal.failed_steps(attempts, since=started)
    step = ", ".join(failed) or context["ti"].task_id
    reason = "; ".join(failed.values()) or str(context.get("reason"))
    steps.notify_failure(run_context, step, reason)


@dag(
    dag_id="ecommerce_pipeline",
    description="Shop database to dashboard: extract, load, dbt, validate, publish.",
    doc_md=__doc__,
    schedule=UtcDays(delay=timedelta(hours=6)),
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "analytics", "retry_exponential_backoff": 2.0},
    on_failure_callback=notify_failure,
    tags=["daily", "ecommerce", "dbt"],
)
def pipeline() -> None:
    """Every step of one data interval, each after those it needs."""
    with TaskGroup("staging", prefix_group_id=False) as staging:
        step("dbt_run_staging") >> step("dbt_test_staging")
    with TaskGroup("marts", prefix_group_id=False) as marts:
        step("dbt_run_marts") >> step("dbt_test_marts")
    chain(
        step("check_source_freshness"),
        extract(),
        step("load_raw"),
        staging,
        step("dbt_snapshot"),
        marts,
        step("validate_output"),
        step("publish", outlets=[MARTS]),
        step("refresh_dashboard", inlets=[MARTS], outlets=[DASHBOARD]),
        step("notify_slack"),
    )


pipeline()
