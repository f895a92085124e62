"""The pipeline under Airflow: each UTC day is processed at six the morning after.

It needs the connections `source_db` and `slack`, the variable `pipeline_run_dir` and the one-slot
pool `warehouse`. A run can be cleared, repeated or backfilled at any time: every step is
idempotent, atomic, and keyed on the run's data interval. A failed test stops all later steps, and
the published copy stays as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.sdk import Asset, TaskGroup, XComArg, chain, dag, get_current_context, task
from cosmos.config import ProfileConfig
from cosmos.constants import InvocationMode
from cosmos.operators.local import (
    DbtLocalBaseOperator,
    DbtRunLocalOperator,
    DbtSnapshotLocalOperator,
    DbtTestLocalOperator,
)
from cosmos.settings import cache_dir
from utc_days import UtcDays

from dbt_hooks import after_dbt, before_dbt
from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner.manifest import project_folder
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS, STEP_BY_NAME
from failures import RetryRule, notify_failure
from settings import step_context, task_options

MARTS = Asset(name="marts", uri="x-ecommerce://published/marts")
DASHBOARD = Asset(name="dashboard", uri="x-ecommerce://dashboard")
DBT_OPERATORS = {
    "run": DbtRunLocalOperator,
    "test": DbtTestLocalOperator,
    "snapshot": DbtSnapshotLocalOperator,
}


@task
def run_step(step: str) -> dict[str, int]:
    """Run a Python step in the task; its row counts go to XCom."""
    return dict(steps.run(step, step_context(get_current_context())).rows)


def run_dbt(step: str) -> DbtLocalBaseOperator:
    """The task of a dbt step: one dbt command on one selector of the project."""
    command, selector = STEP_BY_NAME[step].arguments
    project = project_folder()
    return DBT_OPERATORS[str(command)](
        task_id=step,
        selector=selector,
        project_dir=str(project),
        profile_config=ProfileConfig("ecommerce", "warehouse", project / "profiles.yml"),
        # dbt that ends with its task: dbt's own command would go on beside the retry.
        dbt_executable_path=str(Path(sys.executable).with_name("pipeline-dbt")),
        invocation_mode=InvocationMode.SUBPROCESS,
        append_env=False,
        install_deps=False,
        emit_datasets=False,
        cache_dir=cache_dir,  # of dbt's parsed project, which each command would parse again
        interceptors=[before_dbt],
        callback=after_dbt,
        **task_options(step),
    )


def step(name: str, inlets: Sequence[Asset] = (), outlets: Sequence[Asset] = ()) -> XComArg:
    """The task of a Python step, under the step's name."""
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
        run_dbt("dbt_run_staging") >> run_dbt("dbt_test_staging")
    with TaskGroup("marts", prefix_group_id=False) as marts:
        run_dbt("dbt_run_marts") >> run_dbt("dbt_test_marts")
    chain(
        step("check_source_freshness"),
        extract(),
        step("load_raw"),
        staging,
        run_dbt("dbt_snapshot"),
        marts,
        step("validate_output"),
        step("publish", outlets=[MARTS]),
        step("refresh_dashboard", inlets=[MARTS], outlets=[DASHBOARD]),
        step("notify_slack"),
    )


pipeline()
