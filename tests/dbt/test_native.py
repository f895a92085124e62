"""A dbt step that a tool runs by itself: dbt's results decide, in the same way for every tool."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import psutil
import pytest

from ecommerce_pipeline import steps
from ecommerce_pipeline.dbt_runner import native
from ecommerce_pipeline.dbt_runner.command import PARENT_VARIABLE
from ecommerce_pipeline.dbt_runner.native import DbtAttempt
from ecommerce_pipeline.errors import PipelineError, is_retryable
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.storage import journal, warehouse
from support.raw_warehouse import Shop

DBT = Path(sys.executable).with_name("pipeline-dbt")
STAGING, GATE = "dbt_run_staging", "dbt_test_staging"


class ToolError(Exception):
    """What a tool's integration raises when dbt fails."""


def run_dbt(shop: Shop, step: str, *, raises: bool = True) -> None:
    """Run a step as a tool would: dbt in a process, and an error of the tool's own."""
    context = shop.context()
    with native.attempt(step, context) as dbt:
        dbt.exit_code = subprocess.run(
            [DBT, *native.arguments(step)],
            env=native.environment(context),
            capture_output=True,
            check=False,
        ).returncode
        if dbt.exit_code and raises:
            raise ToolError("dbt failed")


@pytest.fixture
def bad_row(shop: Shop) -> Shop:
    """A shop with a price below zero, which a staging test refuses."""
    shop.load("products", {"id": 1, "price_cents": -1})
    return shop


def test_both_ways_of_running_dbt_have_equal_results(shop: Shop) -> None:
    """A native step reports the rows, the statuses and the warnings of the same step run here."""
    shop.load("order_items", {"id": 1, "order_id": 1, "product_id": 1})
    shop.loaded()
    here = [steps.run(step, shop.context()) for step in (GATE, "dbt_snapshot", "dbt_run_marts")]
    for step in (GATE, "dbt_snapshot", "dbt_run_marts"):
        run_dbt(shop, step)
    entries = journal.read(shop.run, shop.context().interval)[-3:]
    assert [(entry.rows, entry.details) for entry in entries] == [
        (result.rows, result.details) for result in here
    ]
    assert "order_line_has_a_product" in entries[0].warnings


@pytest.mark.parametrize("raises", [True, False])
def test_a_failed_test_is_named_and_not_retried(bad_row: Shop, raises: bool) -> None:
    """The nodes that failed are named, whether the tool raises an error of its own or none."""
    with pytest.raises(PipelineError) as here:
        steps.run(GATE, bad_row.context())
    with pytest.raises(PipelineError, match="1 of 40 dbt tests failed") as caught:
        run_dbt(bad_row, GATE, raises=raises)
    assert str(caught.value) == str(here.value)
    assert not is_retryable(caught.value)
    failed = journal.failed_steps(journal.read(bad_row.run), since=bad_row.context().interval.start)
    assert failed == {GATE: str(caught.value)}


def test_a_step_that_ran_less_than_its_selector_fails(shop: Shop) -> None:
    """A result that is missing from dbt's results fails the step and is named."""
    context = shop.context()
    run_dbt(shop, STAGING)
    file = context.run.dbt_target / native.RESULTS
    results = json.loads(file.read_text())
    left_out = results["results"].pop()["unique_id"].split(".")[2]
    file.write_text(json.dumps(results))
    with pytest.raises(PipelineError, match=f"left out 1 of the 5 models .*: {left_out};"):
        native.step_result(STAGING, context, DbtAttempt(context.run.dbt_target))


def test_results_of_an_earlier_command_do_not_count(shop: Shop) -> None:
    """A command that leaves no results fails, although those of the one before are there."""
    run_dbt(shop, STAGING)
    with (
        pytest.raises(PipelineError, match="dbt run could not start: it left no results"),
        native.attempt(STAGING, shop.context()),
    ):
        pass


def test_an_error_that_dbt_does_not_explain_passes(shop: Shop) -> None:
    """An error of the tool itself, such as its time-out, is not replaced, and can be retried."""
    with (
        pytest.raises(ToolError) as caught,
        native.attempt(STAGING, shop.context()),
    ):
        raise ToolError("took too long")
    assert is_retryable(caught.value)
    (entry,) = journal.read(shop.run)[-1:]
    assert entry.details == {"error": "ToolError: took too long"}


def test_a_killed_dbt_is_retried(shop: Shop) -> None:
    """The death of dbt's process by a signal is a failure that may be tried again."""
    with (
        pytest.raises(PipelineError, match=r"dbt run was killed \(signal 9\)") as caught,
        native.attempt(STAGING, shop.context()) as dbt,
    ):
        dbt.exit_code = -9
    assert is_retryable(caught.value)


def test_a_locked_warehouse_is_retried(shop: Shop) -> None:
    """Where every node failed at another process's lock, the step may be tried again."""
    run_dbt(shop, STAGING)
    file = shop.run.dbt_target / native.RESULTS
    results = json.loads(file.read_text())
    for each in results["results"]:
        each |= {"status": "error", "message": 'IO Error: Could not set lock on file "x"'}
    file.write_text(json.dumps(results))
    with pytest.raises(PipelineError, match="another process held the warehouse") as caught:
        native.step_result(STAGING, shop.context(), DbtAttempt(shop.run.dbt_target))
    assert is_retryable(caught.value)


def test_who_holds_the_warehouse_is_named_before_dbt_starts(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step whose warehouse another process keeps open names it, and may be tried again."""
    monkeypatch.setenv(warehouse.LOCK_WAIT_VARIABLE, "1")
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); input()"
    command = [sys.executable, "-c", code, str(shop.run.warehouse)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(PipelineError, match=f"locked by process {holder.pid}") as caught:
            run_dbt(shop, STAGING)
        holder.kill()
    assert is_retryable(caught.value)


def test_only_the_stated_environment_reaches_dbt(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dbt's options in the caller's environment are not passed on; its folders are the run's."""
    monkeypatch.setenv("DBT_EXCLUDE_RESOURCE_TYPES", "test")
    monkeypatch.setenv("DBT_TARGET", "prod")
    environment = native.environment(shop.context())
    assert {name for name in environment if name.startswith("DBT_")} == {
        "DBT_PROJECT_DIR",
        "DBT_PROFILES_DIR",
        "DBT_TARGET_PATH",
        "DBT_LOG_PATH",
        "DBT_SEND_ANONYMOUS_USAGE_STATS",
    }
    assert environment[PARENT_VARIABLE] == str(os.getpid())
    run_dbt(shop, GATE)
    assert journal.read(shop.run)[-1].details == {"pass": 40}


def test_dbt_ends_with_the_process_that_started_it(shop: Shop, tmp_path: Path) -> None:
    """SIGKILL of the process that waits for dbt also ends dbt, which would go on writing."""
    code = (
        "import subprocess, sys; p = subprocess.Popen(sys.argv[1:]);"
        "print(p.pid, flush=True); p.wait()"
    )
    environment = {**native.environment(shop.context()), "DBT_LOG_PATH": str(tmp_path)}
    del environment[PARENT_VARIABLE]  # the starter is another process
    with duckdb.connect(shop.run.warehouse):  # dbt waits for the lock up to a minute
        starter = subprocess.Popen(
            [sys.executable, "-c", code, DBT, *native.arguments(STAGING)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        with starter:
            assert starter.stdout is not None
            dbt = psutil.Process(int(starter.stdout.readline()))
            log = Path(environment["DBT_LOG_PATH"]) / "dbt.log"
            assert wait_until(log.exists, timeout_seconds=60)  # it has asked the kernel by then
            assert dbt.is_running()
            starter.kill()
        assert wait_until(lambda: not dbt.is_running(), timeout_seconds=10)


def test_dbt_does_not_begin_after_its_starter_has_ended(shop: Shop) -> None:
    """dbt ends at once where its parent is not the process for which its environment was made."""
    command = [str(DBT), *native.arguments(STAGING)]
    done = subprocess.run(
        ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command],
        env=native.environment(shop.context()),
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (128 + signal.SIGKILL, b"")


def test_dbt_can_be_interrupted_where_its_starter_cannot(shop: Shop, tmp_path: Path) -> None:
    """SIGINT ends dbt although the shell that started it ignores it, as in the background."""
    environment = {**native.environment(shop.context()), "DBT_LOG_PATH": str(tmp_path)}
    command = [str(DBT), *native.arguments(STAGING)]
    with duckdb.connect(shop.run.warehouse):  # dbt waits for the lock up to a minute
        dbt = subprocess.Popen(
            ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *command],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        with dbt:
            assert wait_until((tmp_path / "dbt.log").exists, timeout_seconds=60)
            dbt.send_signal(signal.SIGINT)
            assert dbt.wait(30) != 0
