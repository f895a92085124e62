"""The pipeline under Airflow with a task for each dbt model, as Cosmos draws a project.

`pipeline.py` has the form to copy: with one writer to DuckDB no two models run side by side, and
each task starts dbt. In exchange each model has its own log, retry and place in the graph. The
tests stay two gates, as tests of a source belong to no model, and one after each model would leave
them out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, XComArg, chain, dag, get_current_context, task
from cosmos.airflow.task_group import DbtTaskGroup
from cosmos.config import ExecutionConfig, ProfileConfig, ProjectConfig, RenderConfig
from cosmos.constants import InvocationMode, LoadMode, TestBehavior
from cosmos.operators.local import DbtSnapshotLocalOperator, DbtTestLocalOperator
from cosmos.settings import cache_dir
from utc_days import UtcDays

from dbt_hooks import after_dbt, after_model, before_dbt, before_model
from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner.manifest import manifest_file, project_folder
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS
from failures import RetryRule, notify_failure
from settings import step_context, task_options

MARTS = Asset(name="marts", uri="x-ecommerce://published/marts")
DASHBOARD = Asset(name="dashboard", uri="x-ecommerce://dashboard")
PROJECT = project_folder()
PROFILE = ProfileConfig("ecommerce", "warehouse", PROJECT / "profiles.yml")
DBT = str(Path(sys.executable).with_name("pipeline-dbt"))  # it ends with its task
OPERATOR_OPTIONS: dict[str, Any] = {
    "append_env": False,
    "install_deps": False,
    "emit_datasets": False,
}


@task
def run_step(step: str) -> dict[str, int]:
    """Run a Python step in the task; its row counts go to XCom."""
    return dict(steps.run(step, step_context(get_current_context())).rows)


def models(group: str, *folders: str) -> DbtTaskGroup:
    """A task for each model in these folders of the project."""
    return DbtTaskGroup(
        group,
        project_config=ProjectConfig(PROJECT, manifest_path=manifest_file()),
        profile_config=PROFILE,
        execution_config=ExecutionConfig(
            dbt_executable_path=DBT, invocation_mode=InvocationMode.SUBPROCESS
        ),
        render_config=RenderConfig(
            load_method=LoadMode.DBT_MANIFEST,
            select=[f"path:models/{folder}" for folder in folders],
            test_behavior=TestBehavior.NONE,
            emit_datasets=False,
        ),
        operator_args={
            **OPERATOR_OPTIONS,
            **task_options("dbt_run_marts"),
            "interceptors": [before_model],
            "callback": after_model,
        },
    )


def run_dbt(
    step: str, selector: str, operator: type[DbtSnapshotLocalOperator | DbtTestLocalOperator]
) -> DbtSnapshotLocalOperator | DbtTestLocalOperator:
    """The task of a dbt step on a selector: the snapshot, or the tests of a layer."""
    return operator(
        task_id=step,
        selector=selector,
        project_dir=str(PROJECT),
        profile_config=PROFILE,
        dbt_executable_path=DBT,
        invocation_mode=InvocationMode.SUBPROCESS,
        cache_dir=cache_dir,
        interceptors=[before_dbt],
        callback=after_dbt,
        **OPERATOR_OPTIONS,
        **task_options(step),
    )


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
    chain(
        step("check_source_freshness"),
        extract(),
        step("load_raw"),
        models("dbt_run_staging", "staging"),
        run_dbt("dbt_test_staging", "staging_tests", DbtTestLocalOperator),
        run_dbt("dbt_snapshot", "snapshots", DbtSnapshotLocalOperator),
        models("dbt_run_marts", "intermediate", "marts"),
        run_dbt("dbt_test_marts", "marts_tests", DbtTestLocalOperator),
        step("validate_output"),
        step("publish", outlets=[MARTS]),
        step("refresh_dashboard", inlets=[MARTS], outlets=[DASHBOARD]),
        step("notify_slack"),
    )


pipeline()
