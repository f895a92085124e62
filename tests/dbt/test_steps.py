"""How the steps run dbt: quietly, in this process, leaving no lock and no file behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from ecommerce_pipeline import steps
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.step_client import run_step
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.run_directory import RunDirectory
from support.raw_warehouse import Shop

PROJECT = Path(__file__).parents[2] / "dbt_project"
OPEN_AND_SAY = (
    "import sys, duckdb; connection = duckdb.connect(sys.argv[1]);"
    "print('open', flush=True); sys.stdin.read()"
)


def project_files() -> set[Path]:
    """The files of the dbt project, apart from what dbt makes of them."""
    return {path for path in PROJECT.rglob("*") if PROJECT / "target" not in (path, *path.parents)}


def assert_unlocked(warehouse: Path) -> None:
    """Another process can open the warehouse for writing."""
    other = [sys.executable, "-c", OPEN_AND_SAY, str(warehouse)]
    said = subprocess.run(other, input="", capture_output=True, text=True, check=True).stdout
    assert said == "open\n"


def test_a_step_leaves_no_lock(shop: Shop) -> None:
    """As soon as a step has returned, another process can open the warehouse."""
    shop.loaded()
    shop.build()
    assert_unlocked(shop.run.warehouse)


def test_a_failed_step_leaves_no_lock(shop: Shop) -> None:
    """As soon as a step has failed, another process can open the warehouse."""
    shop.load("products", {"id": 1, "price_cents": -1})
    steps.resolve("dbt_run_staging")(shop.context())
    with pytest.raises(PipelineError):
        steps.resolve("dbt_test_staging")(shop.context())
    assert_unlocked(shop.run.warehouse)


def test_a_locked_warehouse_is_named_with_its_holder(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process holds the warehouse, a step waits, then says which one; retryable."""
    monkeypatch.setenv("PIPELINE_LOCK_WAIT_SECONDS", "0.2")
    command = [sys.executable, "-c", OPEN_AND_SAY, str(shop.run.warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(PipelineError, match=f"locked by process {other.pid}") as error:
            steps.resolve("dbt_run_staging")(shop.context())
        other.communicate()
    assert error.value.retryable


def test_steps_say_nothing_and_change_nothing_else(
    shop: Shop, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A step prints nothing and keeps the environment, the working folder and the project."""
    (tmp_path / ".env").write_text("FROM_DOT_ENV=1\n")
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ), Path.cwd(), project_files()
    shop.load("products", {"id": 1, "price_cents": -1})
    shop.loaded()
    shop.build()
    with pytest.raises(PipelineError):
        steps.resolve("dbt_test_staging")(shop.context())
    assert (dict(os.environ), Path.cwd(), project_files()) == before
    assert capfd.readouterr() == ("", "")


def test_partial_parsing_survives_a_change_of_interval(shop: Shop) -> None:
    """The next interval parses no file of the project again."""
    shop.loaded("2025-03-01")
    shop.build("2025-03-01")
    shop.loaded("2025-03-02")
    shop.build("2025-03-02")
    log = shop.log("2025-03-02")
    assert log.count("Command `cli ") == 2
    assert log.count("Partial parsing enabled, no changes found, skipping parsing") == 2
    assert "Unable to do partial parsing" not in log


def test_built_tables_report_their_rows(shop: Shop) -> None:
    """Building the marts and the snapshot reports the rows of each; the views have none."""
    shop.load("customers", {"id": 1}, {"id": 2})
    shop.load("orders", {"id": 1, "user_id": 1, "status": "pending"})
    shop.loaded(customers=(1, 2))
    assert steps.resolve("dbt_run_staging")(shop.context()) == StepResult(details={"success": 5})
    assert steps.resolve("dbt_snapshot")(shop.context()).rows == {"snap_customers": 2}
    assert steps.resolve("dbt_run_marts")(shop.context()) == StepResult(
        rows={
            "daily_revenue_by_category": 0,
            "dim_customers": 2,
            "dim_products": 0,
            "fct_orders": 1,
            "fct_page_views": 0,
        },
        details={"success": 5},
    )


@pytest.mark.parametrize(
    "step",
    [
        steps.resolve("dbt_run_staging"),
        steps.resolve("dbt_run_marts"),
        steps.resolve("dbt_snapshot"),
    ],
)
def test_a_missing_table_is_named(shop: Shop, step: Callable[..., StepResult]) -> None:
    """A warehouse that was never loaded fails with the model that cannot be built."""
    shop.run.warehouse.unlink()
    duckdb.connect(shop.run.warehouse).close()
    with pytest.raises(PipelineError, match=r"does not exist") as error:
        step(shop.context())
    assert "\n" not in str(error.value)


def test_a_folder_without_a_project_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """PIPELINE_DBT_PROJECT that names no project is refused by name."""
    monkeypatch.setenv("PIPELINE_DBT_PROJECT", str(tmp_path))
    with pytest.raises(PipelineError, match=f"{tmp_path} holds no dbt project"):
        steps.resolve("dbt_run_staging")(shop.context())


def test_a_broken_project_is_refused(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A project that does not parse fails with what is wrong in it."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    (project / "models" / "broken.sql").write_text("select * from {{ ref('nowhere') }}")
    monkeypatch.setenv("PIPELINE_DBT_PROJECT", str(project))
    broken = Shop(RunDirectory(tmp_path))
    broken.create()
    with pytest.raises(PipelineError, match="nowhere"):
        steps.resolve("dbt_run_staging")(broken.context())


def test_a_step_that_cannot_start_leaves_no_results_of_an_earlier_attempt(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whoever reads a step's results after a failure never finds those of an earlier success."""
    context = shop.context()
    steps.resolve("dbt_run_staging")(context)
    results = shop.run.dbt_results("staging", context.interval)
    assert results.exists()
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    (project / "models" / "broken.sql").write_text("select * from {{ ref('nowhere') }}")
    monkeypatch.setenv("PIPELINE_DBT_PROJECT", str(project))
    with pytest.raises(PipelineError, match="nowhere"):
        steps.resolve("dbt_run_staging")(context)
    assert not results.exists()


def test_forked_steps_need_not_parse(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The step server parsed the project for every run folder, and a later change is seen."""
    project = tmp_path / "project"
    shutil.copytree(PROJECT, project)
    monkeypatch.setenv("PIPELINE_DBT_PROJECT", str(project))
    shop = Shop(RunDirectory(tmp_path / "run"))
    shop.create()
    with step_server.running() as address:
        monkeypatch.setenv(step_server.ENVIRONMENT_VARIABLE, str(address))
        run_step("dbt_run_staging", shop.context(), timeout_seconds=300)
        assert "Partial parsing enabled, no changes found, skipping parsing" in shop.log()
        view = project / "models" / "staging" / "stg_products.sql"
        view.write_text(view.read_text().replace("sku,", "upper(sku) as sku,"))
        run_step("dbt_run_staging", shop.context(), timeout_seconds=300)
    shop.load("products", {"id": 1, "sku": "a"})
    assert shop.query("SELECT sku FROM staging.stg_products") == [("A",)]
