"""Where the pipeline works: its settings and interval, from what Airflow gives a task."""

from __future__ import annotations

from datetime import UTC

from airflow.sdk import Connection, Context, Variable

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval

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
    return connection.get_uri().replace("+", "%20")  # libpq does not decode "+" to a space
