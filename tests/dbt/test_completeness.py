"""A dbt step that ran less than its selector has fails, whatever made dbt leave nodes out."""

from __future__ import annotations

from typing import Any

import pytest

from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner import runner
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import environment
from support.raw_warehouse import Shop

EXCLUDED = "DBT_EXCLUDE_RESOURCE_TYPES"


@pytest.fixture
def built(shop: Shop) -> Shop:
    """A shop without rows whose tables are all built."""
    shop.loaded()
    shop.build()
    return shop


@pytest.mark.parametrize(
    ("step", "count", "selector"),
    [("dbt_test_staging", 40, "staging_tests"), ("dbt_test_marts", 12, "marts_tests")],
)
def test_a_gate_without_its_tests_fails(
    built: Shop, monkeypatch: pytest.MonkeyPatch, step: str, count: int, selector: str
) -> None:
    """A gate whose tests an option of dbt excludes fails, with their number and names."""
    monkeypatch.setattr(environment, "PASSED_ON", (*environment.PASSED_ON, EXCLUDED))
    monkeypatch.setenv(EXCLUDED, "test")
    with pytest.raises(PipelineError) as caught:
        steps.resolve(step)(built.context())
    beginning = f"dbt test left out {count} of the {count} tests of the selector {selector}: "
    assert caught.value.message.startswith(beginning)
    assert caught.value.message.endswith(f" and {count - 5} more")
    assert "DBT_*" in caught.value.hint


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("dbt_run_staging", "dbt run left out 1 of the 5 models of the selector staging: stg_"),
        ("dbt_run_marts", "dbt run left out 1 of the 5 models of the selector marts: "),
        ("dbt_snapshot", "dbt snapshot left out 1 of the 1 snapshots of the selector snapshots: "),
    ],
)
def test_one_node_that_did_not_run_is_named(
    built: Shop, monkeypatch: pytest.MonkeyPatch, step: str, message: str
) -> None:
    """A step fails when one of its models or snapshots is not among dbt's results."""
    invoke = runner.invoke

    def invoke_without_the_last(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 (dbt's own)
        outcome = invoke(*arguments, **options)
        outcome.result.results.pop()  # type: ignore[union-attr]  # a command with results
        return outcome

    monkeypatch.setattr(runner, "invoke", invoke_without_the_last)
    with pytest.raises(PipelineError) as caught:
        steps.resolve(step)(built.context())
    assert caught.value.message.startswith(message)


def test_options_in_the_environment_do_not_reach_dbt(
    built: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same option in the caller's environment changes no step, nor does another target."""
    monkeypatch.setenv(EXCLUDED, "test")
    monkeypatch.setenv("DBT_TARGET", "prod")
    assert steps.resolve("dbt_test_staging")(built.context()).details == {"pass": 40}
