"""The pipeline under Airflow, each step in a child of the step server: what it costs and buys.

`pipeline.py` has the form to copy. Here every step, those of dbt included, is sent to a server that
has imported pandas and dbt and parsed the project; the child that does it ends with its task.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airflow.sdk import Asset, TaskGroup, XComArg, chain, dag, get_current_context, task
from utc_days import UtcDays

from ecommerce_pipeline.execution import step_client
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS
from failures import RetryRule, notify_failure
from settings import step_context, task_options

MARTS = Asset(name="marts", uri="x-ecommerce://published/marts")
DASHBOARD = Asset(name="dashboard", uri="x-ecommerce://dashboard")

logger = logging.getLogger(__name__)


@task
def run_step(step: str) -> dict[str, int]:
    """Run one step of the specification; its row counts go to XCom."""
    result = step_client.run_step(step, step_context(get_current_context()))
    logger.info("%s: %s", step, result.summary)
    return dict(result.rows)


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


@dag(
    dag_id="ecommerce_pipeline",
    description="Shop database to dashboard: extract, load, dbt, validate, publish.",
    doc_md=__doc__,
    schedule=UtcDays(delay=timedelta(hours=6)),
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={
        "owner": "analytics",
        "retry_policy": RetryRule(),
        "retry_exponential_backoff": 2.0,
    },
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
