"""The pipeline as Dagster assets: one graph from the source's tables to the dashboard.

    cd dagster_impl && PIPELINE_RUN_DIR=$PWD/../runs/dagster dagster dev

An asset is a table or a file. Each step makes some of them or checks them, and what is downstream
waits until it has succeeded.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeAlias

import dagster as dg
from dagster_dbt import DbtCliResource, dbt_assets

import catalog
from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.dbt_runner import native
from ecommerce_pipeline.errors import PipelineError, is_retryable
from ecommerce_pipeline.interval import DAY, DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.specification import STEP_BY_NAME
from executor import side_by_side
from settings import FIRST_DAY, Settings, resources
from step_process import end_with_run, environment, time_limit, wait_for

DAYS = dg.DailyPartitionsDefinition(start_date=FIRST_DAY, timezone="UTC")
DAILY: dict[str, Any] = {"partitions_def": DAYS, "backfill_policy": dg.BackfillPolicy.multi_run(1)}

AssetContext: TypeAlias = dg.AssetExecutionContext
CheckContext: TypeAlias = dg.AssetCheckExecutionContext
Events: TypeAlias = Iterator[Any]


def step_context(settings: Settings, partition: str) -> StepContext:
    """The steps' input: the partition's data interval, and the settings."""
    return StepContext.from_environment(data_interval(partition), settings.environment)


def data_interval(partition: str) -> DataInterval:
    """The interval of a partition, which is a UTC day."""
    window = DAYS.time_window_for_partition_key(partition)
    return DataInterval(window.start, window.end)


def run_step(context: AssetContext | CheckContext, settings: Settings) -> StepResult:
    """Run the current Python step in this process."""
    step, inputs = context.op_def.name, step_context(settings, context.partition_key)
    end_with_run()
    with retry_rule(), steps.attempt(step, inputs) as attempt, time_limit(step):
        attempt.result = steps.resolve(step)(inputs)
    return attempt.result


def check(context: CheckContext, settings: Settings) -> Events:
    """Run the current Python step, and report its checks before a failure stops what follows."""
    try:
        run_step(context, settings)
    except dg.Failure as failure:
        if not failure.allow_retries:
            yield from catalog.one_result(context.check_specs, failure)
        raise
    yield from catalog.one_result(context.check_specs)


def run_dbt(
    context: AssetContext | CheckContext, settings: Settings, dbt: DbtCliResource
) -> Events:
    """Run the current dbt step; its tables become materializations, its tests check results."""
    step, inputs = context.op_def.name, step_context(settings, context.partition_key)
    variables, command = native.environment(inputs), native.arguments(step)
    options: dict[str, Any] = catalog.DBT
    if is_build := isinstance(context, dg.AssetExecutionContext):
        command, options = command[:1], {"context": context}  # dagster-dbt adds the selection
    end_with_run()
    with retry_rule(), native.attempt(step, inputs) as attempt:
        with environment(variables):
            invocation = dbt.cli(
                [*command, "--log-path", variables["DBT_LOG_PATH"]],
                target_path=attempt.target,
                raise_on_error=False,  # the attempt raises what dbt's results say
                **options,
            )
        # While dbt runs, fetch_… would keep a core busy with waiting for it.
        attempt.exit_code = wait_for(invocation, step)
        if is_build:
            attempt.is_part = context.is_subset
            yield from invocation.stream().fetch_row_counts().fetch_column_metadata()
        else:
            yield from catalog.test_results(invocation.stream())


@contextmanager
def retry_rule() -> Iterator[None]:
    """Let Dagster retry what may succeed; a failed test or a refused schema fails again."""
    try:
        yield
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=is_retryable(error)) from error


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


@dg.run_failure_sensor(default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=5)
def notify_failure(context: dg.RunFailureSensorContext, settings: Settings) -> dg.SkipReason | None:
    """Notify once of a run that failed and is not retried, with its failed steps."""
    run, tags = context.dagster_run, context.dagster_run.tags
    if tags.get("dagster/will_retry") == "true" or "dagster/partition" not in tags:
        return dg.SkipReason("the run is retried, or has no interval")
    inputs = step_context(settings, tags["dagster/partition"])
    record = context.instance.get_run_record_by_id(run.run_id)
    start = record and record.start_time  # without one there was no attempt
    started = datetime.fromtimestamp(start, UTC) if start else datetime.now(UTC)
    failed = {str(event.step_key): started for event in context.get_step_failure_events()}
    reason = str(context.failure_event.message)
    steps.notify_failure(inputs, reason, since=started, failed=failed)
    return None


def asset(step: str, spec: dg.AssetSpec, deps: Iterable[Any]) -> Callable[..., dg.AssetsDefinition]:
    """Decorate the step that makes one asset from others."""
    specs = [spec.replace_attributes(deps=deps)]
    return dg.multi_asset(specs=specs, **DAILY, **task_options(step))


@dg.multi_asset_check(specs=catalog.source_checks(), **task_options("check_source_freshness"))
def check_source_freshness(context: CheckContext, settings: Settings) -> Events:
    """Fail when the source's newest row before the interval's end is too old at that end."""
    yield from check(context, settings)


def extract(table: Table) -> dg.AssetsDefinition:
    """The step that writes one table's rows of the interval to ``landing/``."""

    @asset(f"extract_{table.name}", catalog.landing_file(table), deps=[["source", table.name]])
    def extract_table(context: AssetContext, settings: Settings) -> dg.MaterializeResult[Any]:
        run_step(context, settings)
        return catalog.landed(step_context(settings, context.partition_key), table)

    return extract_table


@dg.multi_asset(specs=catalog.raw_tables(), **DAILY, **task_options("load_raw"))
def load_raw(context: AssetContext, settings: Settings) -> Events:
    """Merge the interval's landing files into the warehouse's raw schema in one transaction."""
    run_step(context, settings)
    inputs = step_context(settings, context.partition_key)
    yield from catalog.loaded(inputs, context.selected_asset_keys)


@dbt_assets(selector="staging", **catalog.DBT_ASSETS, **DAILY, **task_options("dbt_run_staging"))
def dbt_run_staging(context: AssetContext, settings: Settings, dbt: DbtCliResource) -> Events:
    """Build the staging views."""
    yield from run_dbt(context, settings, dbt)


@dg.multi_asset_check(specs=catalog.dbt_tests("staging_tests"), **task_options("dbt_test_staging"))
def dbt_test_staging(context: CheckContext, settings: Settings, dbt: DbtCliResource) -> Events:
    """Test the sources and the staging views: the gate before any mart."""
    yield from run_dbt(context, settings, dbt)


@dbt_assets(selector="snapshots", **catalog.DBT_ASSETS, **DAILY, **task_options("dbt_snapshot"))
def dbt_snapshot(context: AssetContext, settings: Settings, dbt: DbtCliResource) -> Events:
    """Record the customers' history."""
    yield from run_dbt(context, settings, dbt)


@dbt_assets(selector="marts", **catalog.DBT_ASSETS, **DAILY, **task_options("dbt_run_marts"))
def dbt_run_marts(context: AssetContext, settings: Settings, dbt: DbtCliResource) -> Events:
    """Build the marts."""
    yield from run_dbt(context, settings, dbt)


@dg.multi_asset_check(specs=catalog.dbt_tests("marts_tests"), **task_options("dbt_test_marts"))
def dbt_test_marts(context: CheckContext, settings: Settings, dbt: DbtCliResource) -> Events:
    """Test the marts and the snapshot: the gate before publishing."""
    yield from run_dbt(context, settings, dbt)


@dg.multi_asset_check(
    specs=catalog.output_checks(dbt_run_marts.keys), **task_options("validate_output")
)
def validate_output(context: CheckContext, settings: Settings) -> Events:
    """Reconcile rows and money between the source interval, raw and the marts."""
    yield from check(context, settings)


@asset("publish", catalog.PUBLISHED, deps=dbt_run_marts.keys | dbt_snapshot.keys)
def publish(context: AssetContext, settings: Settings) -> dg.MaterializeResult[Any]:
    """Replace the published copy atomically."""
    inputs = step_context(settings, context.partition_key)
    return catalog.written(run_step(context, settings), inputs.run.published)


@asset("refresh_dashboard", catalog.DASHBOARD, deps=[catalog.PUBLISHED])
def refresh_dashboard(context: AssetContext, settings: Settings) -> dg.MaterializeResult[Any]:
    """Replace the dashboard's page, generated from the published copy."""
    inputs = step_context(settings, context.partition_key)
    return catalog.written(run_step(context, settings), inputs.run.dashboard)


@asset("notify_slack", catalog.MESSAGE, deps=[catalog.DASHBOARD])
def notify_slack(context: AssetContext, settings: Settings) -> dg.MaterializeResult[Any]:
    """Notify that the interval succeeded."""
    return catalog.reported(run_step(context, settings))


pipeline = dg.define_asset_job(
    "daily",
    selection=dg.AssetSelection.all() | dg.AssetSelection.checks(check_source_freshness),
    description="Every step of one data interval, each after those it needs.",
)


@dg.schedule(job=pipeline, cron_schedule="0 6 * * *", execution_timezone="UTC")
def every_morning(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Run the UTC day before."""
    day = context.scheduled_execution_time.date() - DAY
    return dg.RunRequest(partition_key=day.isoformat())


defs = dg.Definitions(
    assets=[
        *catalog.SOURCE_TABLES,
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
    jobs=[pipeline],
    schedules=[every_morning],
    sensors=[notify_failure],
    resources=resources(),
    executor=side_by_side(__name__),
)
