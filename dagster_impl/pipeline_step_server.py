"""The same assets with each step in a fork of the warm step server, which has imported dbt.

    PIPELINE_STEP_SERVER=/srv/shop/steps.sock dagster api grpc -m pipeline_step_server …

``pipeline.py`` is the form to copy; this one is what a day costs at least. Partitions, retries,
the failure's hook, the job and the schedule are those of ``pipeline.py``.
"""

import os
from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster_dbt import dbt_assets

import catalog
import dbt_metadata
from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.execution import step_client, step_server
from ecommerce_pipeline.result import StepResult
from executor import side_by_side
from pipeline import (
    DAILY,
    AssetContext,
    CheckContext,
    asset,
    every_morning,
    notify_failure,
    pipeline,
    retry_rule,
    step_context,
    task_options,
)
from settings import Settings, resources
from step_process import end_with_run

# Without a shared step server each process would start its own, so one process runs all steps.
SIDE_BY_SIDE = step_server.ENVIRONMENT_VARIABLE in os.environ


def run_step(context: AssetContext | CheckContext, settings: Settings) -> StepResult:
    """Run the current step in a child of the step server, which ends with this process."""
    end_with_run()
    with retry_rule():
        inputs = step_context(settings, context.partition_key)
        result = step_client.run_step(context.op_def.name, inputs)
    context.log.info(result.summary)
    return result


def run_check(context: CheckContext, settings: Settings) -> Iterator[dg.AssetCheckResult]:
    """Run the current step, and report its checks before a failure stops what follows."""
    try:
        run_step(context, settings)
    except dg.Failure as failure:
        if not failure.allow_retries:
            yield from catalog.one_result(context.check_specs, failure)
        raise
    yield from catalog.one_result(context.check_specs)


def run_dbt(
    context: AssetContext, settings: Settings, selector: str
) -> Iterator[dg.MaterializeResult[Any]]:
    """Run the current dbt step, and describe what it built of the tables that are selected."""
    run_step(context, settings)
    inputs = step_context(settings, context.partition_key)
    yield from dbt_metadata.built(inputs, selector, context.selected_asset_keys)


def run_dbt_tests(
    context: CheckContext, settings: Settings, selector: str
) -> Iterator[dg.AssetCheckResult]:
    """Run the current step's dbt tests, and report each before a failure stops what follows."""
    inputs = step_context(settings, context.partition_key)
    try:
        run_step(context, settings)
    except dg.Failure as failure:
        if not failure.allow_retries:
            yield from dbt_metadata.test_results(inputs, selector)
        raise
    yield from dbt_metadata.test_results(inputs, selector)


@dg.multi_asset_check(specs=catalog.source_checks(), **task_options("check_source_freshness"))
def check_source_freshness(
    context: CheckContext, settings: Settings
) -> Iterator[dg.AssetCheckResult]:
    """Fail when the source's newest row before the interval's end is too old at that end."""
    yield from run_check(context, settings)


def extract(table: Table) -> dg.AssetsDefinition:
    """The step that writes one table's rows of the interval to ``landing/``."""

    @asset(f"extract_{table.name}", catalog.landing_file(table), deps=[["source", table.name]])
    def extract_table(context: AssetContext, settings: Settings) -> dg.MaterializeResult[Any]:
        run_step(context, settings)
        return catalog.landed(step_context(settings, context.partition_key), table)

    return extract_table


@dg.multi_asset(specs=catalog.raw_tables(), **DAILY, **task_options("load_raw"))
def load_raw(context: AssetContext, settings: Settings) -> Iterator[dg.MaterializeResult[Any]]:
    """Merge the interval's landing files into the warehouse's raw schema in one transaction."""
    run_step(context, settings)
    inputs = step_context(settings, context.partition_key)
    yield from catalog.loaded(inputs, context.selected_asset_keys)


@dbt_assets(selector="staging", **catalog.DBT_ASSETS, **DAILY, **task_options("dbt_run_staging"))
def dbt_run_staging(
    context: AssetContext, settings: Settings
) -> Iterator[dg.MaterializeResult[Any]]:
    """Build the staging views."""
    yield from run_dbt(context, settings, "staging")


@dg.multi_asset_check(specs=catalog.dbt_tests("staging_tests"), **task_options("dbt_test_staging"))
def dbt_test_staging(context: CheckContext, settings: Settings) -> Iterator[dg.AssetCheckResult]:
    """Test the sources and the staging views: the gate before any mart."""
    yield from run_dbt_tests(context, settings, "staging_tests")


@dbt_assets(selector="snapshots", **catalog.DBT_ASSETS, **DAILY, **task_options("dbt_snapshot"))
def dbt_snapshot(context: AssetContext, settings: Settings) -> Iterator[dg.MaterializeResult[Any]]:
    """Record the customers' history."""
    yield from run_dbt(context, settings, "snapshots")


@dbt_assets(selector="marts", **catalog.DBT_ASSETS, **DAILY, **task_options("dbt_run_marts"))
def dbt_run_marts(context: AssetContext, settings: Settings) -> Iterator[dg.MaterializeResult[Any]]:
    """Build the marts."""
    yield from run_dbt(context, settings, "marts")


@dg.multi_asset_check(specs=catalog.dbt_tests("marts_tests"), **task_options("dbt_test_marts"))
def dbt_test_marts(context: CheckContext, settings: Settings) -> Iterator[dg.AssetCheckResult]:
    """Test the marts and the snapshot: the gate before publishing."""
    yield from run_dbt_tests(context, settings, "marts_tests")


@dg.multi_asset_check(
    specs=catalog.output_checks(dbt_run_marts.keys), **task_options("validate_output")
)
def validate_output(context: CheckContext, settings: Settings) -> Iterator[dg.AssetCheckResult]:
    """Reconcile rows and money between the source interval, raw and the marts."""
    yield from run_check(context, settings)


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
    executor=side_by_side(__name__) if SIDE_BY_SIDE else dg.in_process_executor,
)
