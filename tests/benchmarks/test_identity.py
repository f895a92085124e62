"""What a measurement depends on: samples of other code are not mixed with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from measuring import identity
from measuring.identity import code_digest


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with two benchmarks, a variant and shared code."""
    files = (
        "benchmarks/definitions/steps.py",
        "benchmarks/definitions/dbt/processes/start_methods.py",
        "benchmarks/measuring/sampling.py",
        "cron_impl/run.py",
        "cron_impl/test_pipeline.py",
        "cron_impl/requirements.lock",
        "shared/ecommerce_pipeline/contract.py",
        "dbt_project/target/compiled.sql",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(identity, "ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "name",
    [
        "benchmarks/definitions/dbt/processes/start_methods.py",
        "benchmarks/measuring/sampling.py",
        "cron_impl/run.py",
        "cron_impl/requirements.lock",
        "shared/ecommerce_pipeline/contract.py",
    ],
)
def test_measured_code(checkout: Path, name: str) -> None:
    """The digest changes with the benchmark's definition, the variants, locks and shared code."""
    before = code_digest("dbt")
    (checkout / name).write_text("x = 2\n")
    assert code_digest("dbt") != before


@pytest.mark.parametrize(
    "name",
    [
        "benchmarks/definitions/steps.py",
        "cron_impl/test_pipeline.py",
        "dbt_project/target/compiled.sql",
    ],
)
def test_other_code(checkout: Path, name: str) -> None:
    """The digest does not change with another benchmark, a test or what a run leaves."""
    before = code_digest("dbt")
    (checkout / name).write_text("x = 2\n")
    assert code_digest("dbt") == before
