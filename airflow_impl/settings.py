"""Where the pipeline works, from what Airflow gives a task; and the options of a step's task."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Any

from airflow.sdk import Connection, Context, Variable

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.specification import STEP_BY_NAME

WAREHOUSE_POOL = "warehouse"  # one slot: DuckDB lets one process at a time open its file
OPTIONAL_SETTINGS = (
    "PIPELINE_MAX_STALENESS_HOURS",
    "PIPELINE_LOOKBACK",
    "PIPELINE_MAX_KEY_LOSS",
    "PIPELINE_KEY_SNAPSHOT_ROWS",
)


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
    return str(connection.get_uri()).replace("+", "%20")  # libpq does not decode "+" to a space


def task_options(step: str) -> dict[str, Any]:
    """A step's retries, time-out and pool."""
    specification = STEP_BY_NAME[step]
    return {
        "retries": specification.retries,
        "retry_delay": timedelta(seconds=specification.retry_delay_seconds),
        "execution_timeout": timedelta(seconds=specification.timeout_seconds),
        "pool": WAREHOUSE_POOL if specification.uses_warehouse else "default_pool",
    }
