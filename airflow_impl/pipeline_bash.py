"""The pipeline under Airflow with dbt as a shell command, as many teams have it.

`pipeline.py` has the form to copy. A shell knows dbt's exit code alone; what failed, and whether a
retry can help, is read from dbt's results in the run's folder.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import Asset, TaskGroup, XComArg, chain, dag, get_current_context, task
from utc_days import UtcDays

from dbt_hooks import begin_attempt, end_attempt
from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner import native
from ecommerce_pipeline.dbt_runner.manifest import project_folder
from ecommerce_pipeline.specification import EXTRACT_STEPS, MAX_PARALLEL_STEPS
from failures import RetryRule, notify_failure
from settings import step_context, task_options

RUN_DIR = "{{ var.value.pipeline_run_dir }}"
MARTS = Asset(name="marts", uri="x-ecommerce://published/marts")
DASHBOARD = Asset(name="dashboard", uri="x-ecommerce://dashboard")


@task
def run_step(step: str) -> dict[str, int]:
    """Run a Python step in the task; its row counts go to XCom."""
    return dict(steps.run(step, step_context(get_current_context())).rows)


def run_dbt(step: str) -> BashOperator:
    """The task of a dbt step: one command of dbt that ends with its task."""
    project = str(project_folder())
    dbt = str(Path(sys.executable).with_name("pipeline-dbt"))
    return BashOperator(
        task_id=step,
        # exec, and nothing behind it: a shell in between would outlive its task, and dbt with it.
        bash_command=f"exec {shlex.join([dbt, *native.arguments(step)])}",
        env={
            "PIPELINE_WAREHOUSE": f"{RUN_DIR}/warehouse.duckdb",
            "DBT_PROJECT_DIR": project,
            "DBT_PROFILES_DIR": project,
            "DBT_TARGET_PATH": f"{RUN_DIR}/dbt",
            "DBT_LOG_PATH": f"{RUN_DIR}/dbt/logs",
            "DO_NOT_TRACK": "1",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        },
        skip_on_exit_code=None,
        pre_execute=begin_attempt,
        output_processor=read_results,
        **task_options(step),
    )


def read_results(_: str) -> None:
    """Check that every node ran; the retry rule reads the results of a command that failed."""
    end_attempt()


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
