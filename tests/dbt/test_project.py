"""What holds for the dbt project as a whole."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from support.raw_warehouse import Shop

STEPS = (
    ("run", "staging"),
    ("test", "staging_tests"),
    ("snapshot", "snapshots"),
    ("run", "marts"),
    ("test", "marts_tests"),
    ("test", "unit_tests"),
)


def invoke(shop: Shop, *command: str) -> Any:  # noqa: ANN401 (each command has its own result)
    """Run a dbt command that succeeds and return its result."""
    outcome = shop.dbt(*command)
    assert outcome.success, (outcome.exception, outcome.result)
    return outcome.result


@pytest.fixture
def manifest(shop: Shop) -> dict[str, Any]:
    """dbt's description of the project."""
    invoke(shop, "parse")
    parsed: dict[str, Any] = json.loads((shop.run.dbt_target / "manifest.json").read_text())
    return parsed


def nodes(manifest: dict[str, Any], *resource_types: str) -> Iterator[dict[str, Any]]:
    for node in manifest["nodes"].values():
        if node["resource_type"] in resource_types:
            yield node


def test_nothing_in_the_project_is_deprecated(shop: Shop) -> None:
    """Parsing the whole project raises no warning, deprecations included."""
    invoke(shop, "--warn-error", "--no-partial-parse", "parse")


def test_every_node_is_run_by_exactly_one_step(shop: Shop, manifest: dict[str, Any]) -> None:
    """The steps and the unit tests together run each node once, and all of them pass."""
    shop.loaded()
    run = Counter[str]()
    for command, selector in STEPS:
        results = invoke(shop, command, "--selector", selector).results
        run.update(result.node.unique_id for result in results)
    built = nodes(manifest, "model", "snapshot", "test", "seed", "operation")
    expected = {n["unique_id"] for n in built if n["config"]["materialized"] != "ephemeral"}
    assert run == Counter(expected | manifest["unit_tests"].keys())


def test_models_are_documented(manifest: dict[str, Any]) -> None:
    """Each model, source and snapshot states its grain, and each column what it means."""
    for node in (*nodes(manifest, "model", "snapshot"), *manifest["sources"].values()):
        assert node["description"].startswith("One row per "), node["name"]
    for node in nodes(manifest, "model", "snapshot"):
        assert node["columns"], node["name"]
        for column in node["columns"].values():
            assert column["description"], f"{node['name']}.{column['name']}"


def test_models_are_tagged_and_owned(manifest: dict[str, Any]) -> None:
    """Whatever is built is tagged daily; whatever readers use has a contract and an owner."""
    for node in nodes(manifest, "model", "snapshot"):
        assert node["tags"] == ["daily"], node["name"]
    for node in nodes(manifest, "model"):
        if node["schema"] == "marts" and node["config"]["materialized"] != "ephemeral":
            assert node["config"]["contract"]["enforced"], node["name"]
            assert node["config"]["group"] in {g["name"] for g in manifest["groups"].values()}
    for exposure in manifest["exposures"].values():
        assert exposure["owner"]["email"]


def test_documentation_describes_the_warehouse(shop: Shop) -> None:
    """`dbt docs generate` finds every model and snapshot in the warehouse, without an error."""
    shop.loaded()
    shop.build()
    catalog = invoke(shop, "docs", "generate")
    assert not catalog.errors
    names = {node.metadata.name for node in catalog.nodes.values()}
    assert {"stg_orders", "fct_orders", "daily_revenue_by_category", "snap_customers"} <= names


@pytest.mark.parametrize(("interval", "status"), [("2025-01-02", "pass"), ("2025-01-03", "warn")])
def test_freshness_is_in_logical_time(shop: Shop, interval: str, status: str) -> None:
    """A source is as old as its newest row is at the newest loaded interval's end."""
    shop.load("orders", {"id": 1})
    shop.load("page_views", {"session_id": "s"})
    shop.loaded(interval)
    invoke(shop, "source", "freshness")
    report = json.loads((shop.run.dbt_target / "sources.json").read_text())
    assert [result["status"] for result in report["results"]] == [status, status]
