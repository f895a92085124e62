"""Each form of the pipeline as Dagster runs it in this process: gates, retries, one step alone."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from typing import Any

import dagster as dg

import pipeline
from conftest import SECOND_DAY, FirstRun, Form, resources, states
from ecommerce_pipeline.contract import ORDERS, TABLE_BY_NAME
from ecommerce_pipeline.execution.processes import free_port
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage import journal


def notifications(run: RunDirectory) -> list[dict[str, str]]:
    return [json.loads(line) for line in run.notifications.read_text().splitlines()]


def test_a_partition_runs_every_step_once(first_run: FirstRun) -> None:
    """The day's run succeeds in every step, and every check that is defined has a result."""
    assert states(first_run.result) == dict.fromkeys(STEP_NAMES, "success")
    assert len(journal.read(first_run.run)) == len(STEP_NAMES)
    evaluated = {check.asset_check_key for check in first_run.result.get_asset_check_evaluations()}
    graph = first_run.form.definitions.resolve_asset_graph()
    assert evaluated == graph.asset_check_keys
    assert notifications(first_run.run)[-1]["kind"] == "success"


def test_one_step_can_be_called_alone(form: Form, run: RunDirectory) -> None:
    """Called directly, a step lands exactly the rows that changed in its partition."""
    context = dg.build_asset_context(partition_key=SECOND_DAY)
    made: Any = form.module.extract(ORDERS)(context, settings=resources(run)["settings"])
    interval = DataInterval.parse(SECOND_DAY)
    with sqlite3.connect(run.source_file) as source:
        [(rows,)] = source.execute(
            "SELECT count(*) FROM orders WHERE updated_at >= ? AND updated_at < ?",
            [int(moment.timestamp() * 1_000_000) for moment in (interval.start, interval.end)],
        ).fetchall()
    assert made.metadata["dagster/row_count"] == rows > 0


def test_one_mart_can_be_materialized_alone(form: Form, run: RunDirectory) -> None:
    """Selecting one table of a step that makes several records that table and no other."""
    result = dg.materialize(
        [form.module.dbt_run_marts],
        selection=["marts/fct_orders"],
        partition_key="2025-01-01",
        resources=resources(run),
    )
    keys = [event.asset_key for event in result.get_asset_materialization_events()]
    assert keys == [dg.AssetKey(["marts", "fct_orders"])]


def test_a_failed_staging_test_stops_the_history_and_every_mart(
    form: Form, run: RunDirectory
) -> None:
    """A bad row fails its check and the step once; nothing later starts or is published."""
    published, dashboard = run.published.resolve(), run.dashboard.read_bytes()
    with sqlite3.connect(run.source_file) as connection:
        connection.execute(
            "UPDATE orders SET status = 'lost' WHERE id ="
            " (SELECT id FROM orders WHERE updated_at >= ? LIMIT 1)",
            [int(datetime(2025, 1, 2, tzinfo=UTC).timestamp() * 1_000_000)],
        )
    result = form.execute(run, SECOND_DAY)
    assert list(states(result).items())[-1] == ("dbt_test_staging", "failed")
    assert result.retry_attempts_for_node("dbt_test_staging") == 0
    failed = {
        check.check_name
        for check in result.get_asset_check_evaluations()
        if not check.passed and check.blocking
    }
    assert failed == {"order_status_is_known"}
    assert (run.published.resolve(), run.dashboard.read_bytes()) == (published, dashboard)


def test_a_stale_source_is_a_failed_check_that_blocks_the_extracts(
    form: Form, run: RunDirectory
) -> None:
    """Three days after the source's newest row no table is extracted."""
    result = form.execute(run, "2025-01-05")
    assert states(result) == {"check_source_freshness": "failed"}
    checks = result.get_asset_check_evaluations()
    assert [check.passed for check in checks] == [False] * len(TABLE_BY_NAME)
    assert "stale" in str(checks[0].description)


def test_an_unreachable_source_is_tried_again(form: Form, run: RunDirectory) -> None:
    """An unreachable source is tried three times in all before the run fails."""
    url = f"postgresql://reader@127.0.0.1:{free_port()}/shop"
    result = dg.materialize(
        [form.module.extract(ORDERS)],
        partition_key=SECOND_DAY,
        resources=resources(run, source_url=url),
        raise_on_error=False,
    )
    assert states(result) == {"extract_orders": "failed"}
    assert result.retry_attempts_for_node("extract_orders") == 2


def test_a_failed_run_notifies_once(form: Form, run: RunDirectory) -> None:
    """The sensor notifies which step failed and why, but not when Dagster retries the run."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = form.execute(run, "2025-01-05", instance)
        for tags in ({}, {"dagster/will_retry": "true"}):
            context = dg.build_run_status_sensor_context(
                sensor_name="notify_failure",
                dagster_event=result.get_run_failure_event(),
                dagster_instance=instance,
                dagster_run=result.dagster_run.with_tags({**result.dagster_run.tags, **tags}),
                resources=resources(run),
            ).for_run_failure()
            pipeline.notify_failure(context)
    (message,) = [sent for sent in notifications(run) if sent["kind"] == "failure"]
    assert message["step"] == "check_source_freshness"
    assert "stale" in json.dumps(message)
