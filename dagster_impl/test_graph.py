"""The graph of each form, and of the steps that do nothing: order, pool, retries, lineage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

import dagster as dg
import pytest

import catalog
import noop
import pipeline
from conftest import Form
from ecommerce_pipeline.contract import TABLE_BY_NAME
from ecommerce_pipeline.specification import STEP_BY_NAME, STEPS

Graph = Mapping[str, Iterable[str]]


@pytest.fixture(scope="module", params=[False, True], ids=["does-work", "does-nothing"])
def any_job(request: pytest.FixtureRequest, form: Form) -> dg.JobDefinition:
    """The job of the form, and the job of the same steps doing nothing."""
    return noop.defs.resolve_job_def("daily") if request.param else form.job


def with_all_upstream(graph: Graph) -> dict[str, set[str]]:
    """For each node all nodes from which it can be reached."""

    @cache
    def upstream(node: str) -> frozenset[str]:
        return frozenset(graph[node]).union(*(upstream(parent) for parent in graph[node]))

    return {node: set(upstream(node)) for node in graph}


def dbt_lineage() -> dict[str, set[str]]:
    """The parents of each model and snapshot by dbt's manifest, without ephemeral models."""
    nodes, parents = catalog.MANIFEST["nodes"], catalog.MANIFEST["parent_map"]

    def name(unique_id: str) -> str:
        kind, _, *path = unique_id.split(".")
        return "/".join(path if kind == "source" else (nodes[unique_id]["schema"], path[-1]))

    return {
        name(unique_id): {name(parent) for parent in parents[unique_id]}
        for unique_id, node in nodes.items()
        if node["resource_type"] in ("model", "snapshot")
        and node["config"]["materialized"] != "ephemeral"
    }


def test_the_definitions_load(form: Form) -> None:
    """Dagster can load the location: assets, checks, job, schedule, sensor and resources."""
    dg.Definitions.validate_loadable(form.definitions)


def test_each_step_waits_for_those_that_the_specification_names(any_job: dg.JobDefinition) -> None:
    """A step has exactly the specified steps before it, directly or through others."""
    structure = any_job.graph.dependency_structure
    inputs = {
        node.name: structure.input_to_upstream_outputs_for_node(node.name) for node in any_job.nodes
    }
    waits_for = {
        name: {output.node_name for outputs in upstream.values() for output in outputs}
        for name, upstream in inputs.items()
    }
    specified = {step.name: step.upstream for step in STEPS}
    assert with_all_upstream(waits_for) == with_all_upstream(specified)


def test_what_opens_duckdb_is_in_its_pool(any_job: dg.JobDefinition) -> None:
    """A step is in the one-slot pool exactly when the specification says it opens the file."""
    for node in any_job.nodes:
        assert isinstance(node.definition, dg.OpDefinition)
        uses_warehouse = STEP_BY_NAME[node.name].uses_warehouse
        assert node.definition.pool == ("warehouse" if uses_warehouse else None)


def test_retries_are_those_of_the_specification(form: Form) -> None:
    """A step is tried again as specified, after 1 and 2 s."""
    for node in form.job.nodes:
        assert isinstance(node.definition, dg.OpDefinition)
        step, policy = STEP_BY_NAME[node.name], node.definition.retry_policy
        assert policy is not None
        assert policy.max_retries == step.retries
        assert [policy.calculate_delay(attempt) for attempt in (1, 2)] == [1, 2]


def test_the_graph_between_sources_and_dashboard_is_that_of_dbt(form: Form) -> None:
    """Between raw tables and marts lies dbt's own lineage, and every source table is used."""
    graph, expected = form.assets, dbt_lineage()
    expected["marts/dim_customers"].add("snapshots/snap_customers")  # the order of the steps
    assert {asset: graph[asset] for asset in expected} == expected
    sources = {f"source/{table}" for table in TABLE_BY_NAME}
    assert sources <= with_all_upstream(graph)["sales_dashboard"]


def test_every_data_test_of_dbt_is_a_check(form: Form) -> None:
    """No test of the project is left out, and none is in both gates."""
    nodes = catalog.MANIFEST["nodes"].values()
    tests = sorted(node["name"] for node in nodes if node["resource_type"] == "test")
    gates = (form.module.dbt_test_staging, form.module.dbt_test_marts)
    assert sorted(key.name for gate in gates for key in gate.check_keys) == tests


def test_at_six_the_day_before_is_run() -> None:
    """The schedule's tick of 10 January, 06:00 UTC, asks for the partition of the 9th."""
    schedule = pipeline.every_morning
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * *", "UTC")
    tick = dg.build_schedule_context(scheduled_execution_time=datetime(2025, 1, 10, 6, tzinfo=UTC))
    request: Any = schedule(tick)
    assert request.partition_key == "2025-01-09"
