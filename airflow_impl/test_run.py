"""run.py: the services that it starts, and the runs that it triggers."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from pipeline_verification.compare import compare, report
from pipeline_verification.harness.control import fill_source, run_control
from pipeline_verification.harness.fault_injection import has_ended, wait_for
from run import DAG_ID, Airflow

HERE = Path(__file__).parent
DAY, SECOND_DAY = "2025-01-01", "2025-01-02"
SERVICE_PROCESSES = 4  # at least metadata database, API server, Dag processor and scheduler
SECOND_START = int(datetime(2025, 1, 2, tzinfo=UTC).timestamp()) * 1_000_000  # as stored in SQLite


@dataclass(frozen=True)
class Running:
    """The services, in a folder whose source is at the end of the second day."""

    variant: Airflow
    run: RunDirectory


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    run = RunDirectory(tmp_path_factory.mktemp("running"))
    settings = RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")
    fill_source(settings.source_url, load_dataset("synthetic"), SECOND_DAY)
    variant = Airflow()
    try:
        variant.start(settings)
        yield Running(variant, run)
    finally:
        variant.stop()


def test_the_services_listen_on_loopback_alone(running: Running) -> None:
    """Nothing that was started can be reached from another machine."""
    listening = [
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 2  # metadata database and API server
    assert set(listening) == {"127.0.0.1"}


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_the_api_answers_nobody_without_a_token(running: Running, origin: str | None) -> None:
    """Without a token nothing is shown or changed, and no foreign page may read an answer."""
    (address,) = running.variant.addresses.values()
    headers = {"Origin": origin} if origin else {}
    dag = f"/api/v2/dags/{DAG_ID}"
    with httpx.Client(base_url=address, headers=headers, timeout=60, trust_env=False) as client:
        answers = [
            *(client.get(path) for path in (dag, f"{dag}/dagRuns", "/api/v2/connections")),
            client.post(f"{dag}/dagRuns", json={"logical_date": None}),
            client.post(f"{dag}/dagRuns", content=b"{}", headers={"Content-Type": "text/plain"}),
            client.patch(dag, json={"is_paused": True}),
            client.delete(dag),
            client.get(f"/execution/variables/{'pipeline_run_dir'}"),
        ]
        preflight = client.options(dag, headers={"Access-Control-Request-Method": "DELETE"})
    assert {answer.status_code for answer in answers} <= {401, 403}
    assert not any("access-control-allow-origin" in a.headers for a in [*answers, preflight])


def test_a_backfill_equals_the_control(
    running: Running, tmp_path: Path, step_server_address: str
) -> None:
    """Airflow's own backfill runs each day once, in order, and leaves what the control leaves."""
    control = RunDirectory(tmp_path / "control")
    control.path.mkdir()
    shutil.copy(running.run.source_file, control.source_file)
    environment = {step_server.ENVIRONMENT_VARIABLE: step_server_address}
    assert run_control(control.path, DAY, SECOND_DAY, environment=environment).returncode == 0
    intervals = [DataInterval.parse(day) for day in (DAY, SECOND_DAY)]
    runs = running.variant.backfill(intervals)
    assert [(run.interval, run.state) for run in runs] == [(str(i), "success") for i in intervals]
    for run in runs:
        assert sorted(step.name for step in run.steps) == sorted(STEP_NAMES)
        assert {step.attempts for step in run.steps} == {1}
    assert runs[0].ended_at is not None
    assert runs[1].steps[0].started_at is not None
    assert runs[0].ended_at <= runs[1].steps[0].started_at
    differences = compare(running.run.warehouse, control.warehouse)
    assert not differences, report(differences)


def test_an_interval_that_runs_again_and_fails_notifies_once(running: Running) -> None:
    """The run is cleared, not created twice; stopping waits until its failure was notified.

    Also when the scheduler requests the callback seconds after the run has failed.
    """
    delay_callback_requests(running.variant.database_url)
    with sqlite3.connect(running.run.source_file) as source:
        source.execute("UPDATE orders SET status = 'lost' WHERE updated_at >= ?", [SECOND_START])
    interval_run = running.variant.run_interval(DataInterval.parse(SECOND_DAY))
    assert interval_run.state == "failed"
    states = {step.name: step.state for step in interval_run.steps}
    assert states["dbt_test_staging"] == "failed"
    assert states["publish"] == "skipped"
    running.variant.stop()
    lines = running.run.notifications.read_text().splitlines()
    messages = [json.loads(line) for line in lines]
    failures = [message for message in messages if message["kind"] == "failure"]
    assert [message["step"] for message in failures] == ["dbt_test_staging"]
    assert "tests failed: " in str(failures)


def delay_callback_requests(database_url: str) -> None:
    """Let the metadata database take three seconds to insert a requested callback."""
    with psycopg.connect(database_url, autocommit=True) as database:
        database.execute(
            "CREATE FUNCTION delay_insert() RETURNS trigger LANGUAGE plpgsql"
            " AS 'BEGIN PERFORM pg_sleep(3); RETURN NEW; END'"
        )
        database.execute(
            "CREATE TRIGGER delay_insert BEFORE INSERT ON callback"
            " FOR EACH ROW EXECUTE FUNCTION delay_insert()"
        )


def test_sigterm_stops_everything(tmp_path: Path) -> None:
    """SIGTERM in the middle of a run stops run.py and every process that it started."""
    command = [sys.executable, str(HERE / "run.py"), "--days", "1", "--run-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as runner:
        wait_for(RunDirectory(tmp_path).step_journal.exists, "the first step")
        started = psutil.Process(runner.pid).children(recursive=True)
        runner.terminate()
        assert runner.wait() == 128 + signal.SIGTERM
    assert len(started) >= SERVICE_PROCESSES
    assert all(map(has_ended, started))


@pytest.mark.parametrize("name", ["$HOME", "a$x", "${HOME}"])
def test_a_path_that_airflow_would_expand_is_refused(tmp_path: Path, name: str) -> None:
    """A variable in the run's path is refused, and nothing is written there or beside it."""
    run = RunDirectory(tmp_path / name)
    settings = RunSettings(run, f"sqlite:///{run.source_file}")
    with pytest.raises(PipelineError, match=r"Airflow would take \$.* for a variable"):
        Airflow().start(settings)
    assert list(tmp_path.iterdir()) == []
