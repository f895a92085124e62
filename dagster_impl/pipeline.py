"""The pipeline as Dagster assets: one graph from the source's tables to the dashboard.

    cd dagster_impl && PIPELINE_RUN_DIR=$PWD/../runs/dagster dagster dev

An asset is a table or a file. Each step makes some of them or checks them, and what is downstream
waits until it has succeeded.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any, TypeAlias

import dagster as dg
from dagster_dbt import dbt_assets

import catalog
from ecommerce_pipeline import steps
from ecommerce_pipeline.context import (
    DEFAULT_KEY_SNAPSHOT_ROWS,
    DEFAULT_MAX_KEY_LOSS,
    StepContext,
)
from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.errors import PipelineError, is_retryable
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.step_client import run_step
from ecommerce_pipeline.interval import DAY, DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.specification import STEP_BY_NAME
from executor import side_by_side

FIRST_DAY = os.environ.get("PIPELINE_FIRST_DAY", "2017-01-01")
DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC")
DAILY: dict[str, Any] = {
    "partitions_def": DAYS,
    "backfill_policy": dg.BackfillPolicy.multi_run(max_partitions_per_run=1),
}
DBT = {"manifest": catalog.MANIFEST, "dagster_dbt_translator": catalog.TRANSLATOR, **DAILY}
# Without a shared step server each process would start its own, so one process runs all steps.
SIDE_BY_SIDE = step_server.ENVIRONMENT_VARIABLE in os.environ

AssetContext: TypeAlias = dg.AssetExecutionContext
CheckContext: TypeAlias = dg.AssetCheckExecutionContext


class Pipeline(dg.ConfigurableResource[None]):
    """Where the pipeline works, and how it runs a step of the specification."""

    run_dir: str
    source_url: str
    max_staleness_hours: str
    slack_webhook_url: str
    lookback: str = "0"
    max_key_loss: str = str(DEFAULT_MAX_KEY_LOSS)
    key_snapshot_rows: str = str(DEFAULT_KEY_SNAPSHOT_ROWS)

    def step_context(self, partition: str) -> StepContext:
        """The steps' input: a partition is a data interval."""
        window = DAYS.time_window_for_partition_key(partition)
        environment = {
            "PIPELINE_RUN_DIR": self.run_dir,
            "PIPELINE_SOURCE_URL": self.source_url,
            "PIPELINE_MAX_STALENESS_HOURS": self.max_staleness_hours,
            "PIPELINE_SLACK_WEBHOOK_URL": self.slack_webhook_url,
            "PIPELINE_LOOKBACK": self.lookback,
            "PIPELINE_MAX_KEY_LOSS": self.max_key_loss,
            "PIPELINE_KEY_SNAPSHOT_ROWS": self.key_snapshot_rows,
        }
        interval = DataInterval(window.start, window.end)
        return StepContext.from_environment(interval, environment)

    def run(self, context: AssetContext | CheckContext) -> tuple[StepContext, StepResult]:
        """Run the current step in a separate process, which ends with this one."""
        end_with_run()
        step_context = self.step_context(context.partition_key)
        try:
            return step_context, run_step(context.op_def.name, step_context)
        except PipelineError as error:
            raise dg.Failure(str(error), allow_retries=is_retryable(error)) from error

    def check(
        self, context: CheckContext, results: catalog.CheckResults
    ) -> Iterator[dg.AssetCheckResult]:
        """Run the current step, and report its checks before a failure stops what follows."""
        step_context = self.step_context(context.partition_key)
        try:
            self.run(context)
        except dg.Failure as failure:
            if not failure.allow_retries:
                yield from results(step_context, failure)
            raise
        yield from results(step_context, None)


def end_with_run() -> None:
    """End this step's process when its run's process is killed."""
    # Dagster resumes the run in a new process, and a step of the dead run would write beside its
    # own retry. Nothing else ends it: it is a child of the fork server, not of the run's process.
    run = multiprocessing.parent_process()

    def wait_and_end(run: BaseProcess) -> None:
        run.join()
        os._exit(1)

    if run is not None and SIDE_BY_SIDE:
        threading.Thread(target=wait_and_end, args=[run], daemon=True).start()


def task_options(step: str) -> dict[str, Any]:
    """The step's own name and retries, and the warehouse's pool, which has one slot."""
    specification = STEP_BY_NAME[step]
    return {
        "name": step,
        "pool": "warehouse" if specification.uses_warehouse else None,
        "retry_policy": dg.RetryPolicy(
            max_retries=specification.retries,
            delay=specification.retry_delay_seconds,
            backoff=dg.Backoff.LINEAR,  # waits 1 and 2 s; EXPONENTIAL would wait 1 and 3 s
        ),
    }


def asset(
    step: str, spec: dg.AssetSpec
) -> Callable[[Callable[..., dg.MaterializeResult]], dg.AssetsDefinition]:
    """Decorate the step that makes one asset with the default owner and tags."""
    complete = spec.merge_attributes(**catalog.DEFAULT_ATTRIBUTES)
    return dg.multi_asset(specs=[complete], **DAILY, **task_options(step))


source_tables = [
    dg.AssetSpec(
        ["source", table.name],
        description=f"The table {table.name} of the operational database.",
        group_name="source",
        owners=["team:shop"],
    )
    for table in TABLES
]


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec("source_is_fresh", asset=table.key, blocking=True)
        for table in source_tables
    ],
    **task_options("check_source_freshness"),
)
def check_source_freshness(
    context: CheckContext, pipeline: Pipeline
) -> Iterator[dg.AssetCheckResult]:
    """Fail when the source's newest row before the interval's end is too old at that end."""
    yield from pipeline.check(context, catalog.one_result(context.check_specs))


def extract(table: Table) -> dg.AssetsDefinition:
    """The step that writes one table's rows of the interval to ``landing/``."""

    @asset(
        f"extract_{table.name}",
        dg.AssetSpec(
            ["landing", table.name],
            deps=[["source", table.name]],
            description=f"The rows of {table.name} that changed in the interval.",
            group_name="raw",
            kinds={"python", "parquet"},
        ),
    )
    def extract_table(context: AssetContext, pipeline: Pipeline) -> dg.MaterializeResult:
        step, _ = pipeline.run(context)
        return catalog.landed(step.run.landing_file(table.name, step.interval), table)

    return extract_table


@dg.multi_asset(specs=catalog.raw_tables(), **DAILY, **task_options("load_raw"))
def load_raw(context: AssetContext, pipeline: Pipeline) -> Iterator[dg.MaterializeResult]:
    """Merge the interval's landing files into the warehouse's raw schema in one transaction."""
    step, _ = pipeline.run(context)
    yield from catalog.loaded(step, context.selected_asset_keys)


@dbt_assets(select="resource_type:model,staging", **DBT, **task_options("dbt_run_staging"))
def dbt_run_staging(context: AssetContext, pipeline: Pipeline) -> Iterator[dg.MaterializeResult]:
    """Build the staging views."""
    step, _ = pipeline.run(context)
    yield from catalog.built(step, "staging", context.selected_asset_keys)


@dg.multi_asset_check(specs=catalog.dbt_tests("staging_tests"), **task_options("dbt_test_staging"))
def dbt_test_staging(context: CheckContext, pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
    """Test the sources and the staging views: the gate before any mart."""
    yield from pipeline.check(context, catalog.dbt_results("staging_tests"))


@dbt_assets(select="resource_type:snapshot", **DBT, **task_options("dbt_snapshot"))
def dbt_snapshot(context: AssetContext, pipeline: Pipeline) -> Iterator[dg.MaterializeResult]:
    """Record the customers' history."""
    step, _ = pipeline.run(context)
    yield from catalog.built(step, "snapshots", context.selected_asset_keys)


@dbt_assets(select="resource_type:model", exclude="staging", **DBT, **task_options("dbt_run_marts"))
def dbt_run_marts(context: AssetContext, pipeline: Pipeline) -> Iterator[dg.MaterializeResult]:
    """Build the marts."""
    step, _ = pipeline.run(context)
    yield from catalog.built(step, "marts", context.selected_asset_keys)


@dg.multi_asset_check(specs=catalog.dbt_tests("marts_tests"), **task_options("dbt_test_marts"))
def dbt_test_marts(context: CheckContext, pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
    """Test the marts and the snapshot: the gate before publishing."""
    yield from pipeline.check(context, catalog.dbt_results("marts_tests"))


revenue = dg.AssetKey(["marts", "daily_revenue_by_category"])


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "output_reconciles",
            asset=revenue,
            additional_deps=dbt_run_marts.keys - {revenue},
            blocking=True,
        )
    ],
    **task_options("validate_output"),
)
def validate_output(context: CheckContext, pipeline: Pipeline) -> Iterator[dg.AssetCheckResult]:
    """Reconcile rows and money between the source interval, raw and the marts."""
    yield from pipeline.check(context, catalog.one_result(context.check_specs))


@asset(
    "publish",
    dg.AssetSpec(
        "published_warehouse",
        deps=dbt_run_marts.keys | dbt_snapshot.keys,
        description="The published copy of the marts and the customers' history.",
        group_name="published",
        kinds={"duckdb", "parquet"},
    ),
)
def publish(context: AssetContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Replace the published copy atomically."""
    step, result = pipeline.run(context)
    return catalog.written(result, step.run.published)


@asset(
    "refresh_dashboard",
    dg.AssetSpec(
        "sales_dashboard",
        deps=["published_warehouse"],
        description="The page of revenue, orders and customers.",
        group_name="published",
        kinds={"html"},
    ),
)
def refresh_dashboard(context: AssetContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Replace the dashboard's page, generated from the published copy."""
    step, result = pipeline.run(context)
    return catalog.written(result, step.run.dashboard)


@asset(
    "notify_slack",
    dg.AssetSpec(
        "success_notification",
        deps=["sales_dashboard"],
        description="The message that the interval succeeded.",
        group_name="published",
        kinds={"slack"},
    ),
)
def notify_slack(context: AssetContext, pipeline: Pipeline) -> dg.MaterializeResult:
    """Notify that the interval succeeded."""
    _, result = pipeline.run(context)
    return dg.MaterializeResult(metadata=dict(result.details))


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=5)
def notify_failure(context: dg.RunFailureSensorContext, pipeline: Pipeline) -> dg.SkipReason | None:
    """Notify once of a run that failed and is not retried, with its failed steps."""
    tags = context.dagster_run.tags
    if tags.get("dagster/will_retry") == "true" or "dagster/partition" not in tags:
        return dg.SkipReason("the run is retried, or has no interval")
    failed = ", ".join(str(event.step_key) for event in context.get_step_failure_events())
    step_context = pipeline.step_context(tags["dagster/partition"])
    steps.notify_failure(step_context, step=failed, reason=catalog.reason(context))
    return None


daily = dg.define_asset_job(
    "daily",
    selection=dg.AssetSelection.all() | dg.AssetSelection.checks(check_source_freshness),
    description="Every step of one data interval, each after those it needs.",
)


@dg.schedule(job=daily, cron_schedule="0 6 * * *", execution_timezone="UTC")
def every_morning(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Run the UTC day before."""
    day = context.scheduled_execution_time.date() - DAY
    return dg.RunRequest(partition_key=day.isoformat())


def variable(name: str, default: str = "") -> str:
    """An environment variable that Dagster reads when a run needs it, or its default."""
    # A run fails on an EnvVar that is not set. Pages show an EnvVar's name instead of its value.
    return dg.EnvVar(name) if name in os.environ else default


defs = dg.Definitions(
    assets=[
        *source_tables,
        *(extract(table) for table in TABLES),
        load_raw,
        dbt_run_staging,
        dbt_snapshot,
        dbt_run_marts,
        publish,
        refresh_dashboard,
        notify_slack,
    ],
    asset_checks=[check_source_freshness, dbt_test_staging, dbt_test_marts, validate_output],
    jobs=[daily],
    schedules=[every_morning],
    sensors=[notify_failure],
    resources={
        "pipeline": Pipeline(
            run_dir=dg.EnvVar("PIPELINE_RUN_DIR"),
            source_url=variable("PIPELINE_SOURCE_URL"),
            max_staleness_hours=variable("PIPELINE_MAX_STALENESS_HOURS", "48"),
            slack_webhook_url=variable("PIPELINE_SLACK_WEBHOOK_URL"),
            lookback=variable("PIPELINE_LOOKBACK", "0"),
            max_key_loss=variable("PIPELINE_MAX_KEY_LOSS", str(DEFAULT_MAX_KEY_LOSS)),
            key_snapshot_rows=variable(
                "PIPELINE_KEY_SNAPSHOT_ROWS", str(DEFAULT_KEY_SNAPSHOT_ROWS)
            ),
        )
    },
    executor=side_by_side(__name__) if SIDE_BY_SIDE else dg.in_process_executor,
)
