"""The Dag as Airflow parses it, and as ``dag.test()`` runs it over a real source."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, Asset, Connection
from airflow.serialization.serialized_objects import DagSerialization
from airflow.timetables.base import TimeRestriction
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from utc_days import UtcDays

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.harness.variant import NATIVE, NO_OP, STEP_SERVER, pipeline_file
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_BY_NAME, STEP_NAMES, STEPS
from ecommerce_pipeline.storage import journal
from pipeline_verification.harness.control import fill_source
from pipeline_verification.harness.fault_injection import has_ended
from services import airflow_environment, pipeline_environment, source_connection
from settings import database_url

HERE = Path(__file__).parent
DAY = "2025-01-01"
NEXT_DAY = datetime(2025, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def bag() -> DagBag:
    return DagBag(HERE, bundle_name="tests")


def parsed(form: str) -> DAG:
    """The Dag of a form of the pipeline."""
    bag = DagBag(pipeline_file(HERE, form), bundle_name="tests")
    assert bag.import_errors == {}
    return bag.dags["ecommerce_pipeline"]


@pytest.fixture(scope="module", params=[NATIVE, STEP_SERVER])
def dag(request: pytest.FixtureRequest) -> DAG:
    """The Dag of the pipeline in both of its forms."""
    return parsed(request.param)


@pytest.fixture(scope="module", params=[NATIVE, STEP_SERVER, "bash", NO_OP])
def any_dag(request: pytest.FixtureRequest) -> DAG:
    """Every Dag with a task for each step."""
    return parsed(request.param)


def steps_of(task_id: str) -> list[str]:
    """The steps of a task: the mapped one has an extract step for each table."""
    return list(EXTRACT_STEPS) if task_id == "extract" else [task_id]


def test_the_dag_is_imported_without_errors_or_warnings(bag: DagBag) -> None:
    """Of this folder's files Airflow parses pipeline.py alone, without errors or warnings."""
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    assert [Path(stat.file).name for stat in bag.dagbag_stats] == ["pipeline.py"]
    assert list(bag.dags) == ["ecommerce_pipeline"]


def test_the_tasks_are_the_specified_steps(any_dag: DAG) -> None:
    """Every step is a task of its name, or an instance of the mapped extract."""
    names = [step for task in any_dag.tasks for step in steps_of(task.task_id)]
    assert sorted(names) == sorted(STEP_NAMES)


def test_each_task_waits_for_the_specified_steps(any_dag: DAG) -> None:
    """A task's upstream tasks are those of its step in the specification."""
    for task in any_dag.tasks:
        upstream = sorted(s for up in task.upstream_task_ids for s in steps_of(up))
        for step in steps_of(task.task_id):
            assert upstream == sorted(STEP_BY_NAME[step].upstream), step


def test_few_enough_tasks_run_side_by_side(any_dag: DAG) -> None:
    """What opens the DuckDB file takes the one-slot pool; two extracts run at a time."""
    for task in any_dag.tasks:
        for step in steps_of(task.task_id):
            assert (task.pool == "warehouse") == STEP_BY_NAME[step].uses_warehouse
    assert any_dag.get_task("extract").max_active_tis_per_dagrun == 2
    assert any_dag.max_active_runs == 1


def test_retries_and_timeouts_are_the_specified_ones(dag: DAG) -> None:
    """Retries, doubling delays and time-outs are as specified."""
    for task in dag.tasks:
        for step in steps_of(task.task_id):
            specification = STEP_BY_NAME[step]
            assert task.retries == specification.retries
            assert task.retry_delay == timedelta(seconds=specification.retry_delay_seconds)
            assert task.retry_exponential_backoff == 2.0
            assert task.execution_timeout == timedelta(seconds=specification.timeout_seconds)


def test_the_dag_says_who_owns_it_and_what_it_is_for(dag: DAG) -> None:
    """Owner, tags, description and documentation are set; no catch-up."""
    assert dag.owner == "analytics"
    assert dag.tags == {"daily", "ecommerce", "dbt"}
    assert dag.description
    assert dag.doc_md
    assert dag.catchup is False


def test_dbt_phases_are_task_groups(dag: DAG) -> None:
    """Running and testing each layer are grouped, under the steps' own names."""
    groups = {
        name: set(group.children)
        for name, group in dag.task_group.children.items()
        if hasattr(group, "children")
    }
    assert groups == {
        "staging": {"dbt_run_staging", "dbt_test_staging"},
        "marts": {"dbt_run_marts", "dbt_test_marts"},
    }


def test_another_dag_can_be_triggered_by_what_this_one_publishes(dag: DAG) -> None:
    """Publishing and the dashboard are assets; a Dag scheduled on one starts after its task."""
    outlets = {task.task_id: list(task.outlets) for task in dag.tasks if task.outlets}
    marts = Asset(name="marts", uri="x-ecommerce://published/marts")
    dashboard = Asset(name="dashboard", uri="x-ecommerce://dashboard")
    assert outlets == {"publish": [marts], "refresh_dashboard": [dashboard]}
    with DAG("readers", schedule=[marts], start_date=datetime(2025, 1, 1, tzinfo=UTC)) as readers:
        pass
    serialized = DagSerialization.deserialize_dag(DagSerialization.to_dict(readers)["dag"])
    assert [asset.uri for _, asset in serialized.timetable.asset_condition.iter_assets()] == [
        marts.uri
    ]


def test_per_model_keeps_the_gates() -> None:
    """A task for each model takes the place of the two steps that build; the tests stay gates."""
    tasks = parsed("per-model").task_dict
    staging = {f"dbt_run_staging.stg_{table.name}_run" for table in TABLES}
    marts = {name for name in tasks if name.startswith("dbt_run_marts.")}
    steps = {s for name in tasks.keys() - staging - marts for s in steps_of(name)}
    assert steps == set(STEP_NAMES) - {"dbt_run_staging", "dbt_run_marts"}
    ephemeral = "dbt_run_marts.int_order_items_priced_run"  # Cosmos gives it an empty task
    for name in (staging | marts) - {ephemeral}:
        assert tasks[name].pool == "warehouse", name
    assert tasks["dbt_test_staging"].upstream_task_ids == staging
    assert tasks["dbt_snapshot"].upstream_task_ids == {"dbt_test_staging"}
    assert all("dbt_snapshot" in tasks[name].get_flat_relative_ids(upstream=True) for name in marts)
    upstream = tasks["dbt_test_marts"].get_flat_relative_ids(upstream=True)
    assert marts <= upstream


IMPORTS = """
import json, sys
events = []
import airflow.sdk
sys.addaudithook(lambda event, _: events.append(event))
before = set(sys.modules)
import pipeline
print(json.dumps([sorted(set(sys.modules) - before), sorted(set(events))]))
"""


def test_parsing_is_light() -> None:
    """Importing the file loads no data library and no dbt, and opens no database or socket."""
    path = os.pathsep.join([str(HERE), str(HERE / "plugins")])
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
        capture_output=True,
        text=True,
    )
    modules, events = json.loads(done.stdout.splitlines()[-1])
    loaded = {module.partition(".")[0] for module in modules}
    assert loaded >= {"pipeline", "utc_days", "ecommerce_pipeline", "cosmos"}
    assert not loaded & {"pandas", "numpy", "duckdb", "pyarrow", "dbt", "psycopg"}
    assert not [e for e in events if e.startswith(("sqlite3.connect", "socket."))]


def test_a_scheduled_run_is_due_at_six_and_processes_the_day_before() -> None:
    """The run of a UTC day starts at 06:00 the morning after, with whole-day intervals."""
    timetable = UtcDays(delay=timedelta(hours=6))
    restriction = TimeRestriction(earliest=NEXT_DAY, latest=None, catchup=True)
    first = timetable.next_dagrun_info(last_automated_data_interval=None, restriction=restriction)
    assert first is not None
    assert first.data_interval == (NEXT_DAY, NEXT_DAY + timedelta(days=1))
    assert first.logical_date == NEXT_DAY
    assert first.run_after == datetime(2025, 1, 3, 6, tzinfo=UTC)
    second = timetable.next_dagrun_info(
        last_automated_data_interval=first.data_interval, restriction=restriction
    )
    assert second is not None
    assert second.data_interval == (first.data_interval.end, NEXT_DAY + timedelta(days=2))


def test_the_timetable_survives_serialization(dag: DAG) -> None:
    """The scheduler sees the timetable that the file declares, delay included."""
    seen = DagSerialization.deserialize_dag(DagSerialization.to_dict(dag)["dag"]).timetable
    assert type(seen).__qualname__ == "UtcDays"
    assert seen.serialize() == {"delay": 21600.0}


NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@given(login=NAMES, password=NAMES, database=NAMES, option=NAMES, port=st.integers(1, 65535))
def test_a_source_url_survives_being_a_connection(
    login: str, password: str, database: str, option: str, port: int
) -> None:
    """What the steps connect to is what the command was given, whatever the characters."""
    parts = [quote(part, safe="") for part in (login, password, database, option)]
    url = "postgresql://{}:{}@db.internal:{port}/{}?application_name={}".format(*parts, port=port)
    connection = Connection.from_json(source_connection(url))
    assert conninfo_to_dict(database_url(connection)) == conninfo_to_dict(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://reader@db.internal/shop",
        "postgresql:///shop",
        "postgresql://one:1,two:2/shop",
        "postgresql://[::1]:5433/shop?sslmode=require",
        "postgresql:///shop?host=/run/postgresql",
    ],
)
def test_unusual_postgres_urls_survive_being_a_connection(url: str) -> None:
    """Several hosts, IPv6, a socket's folder and left-out parts mean the same afterwards."""
    connection = Connection.from_json(source_connection(url))
    assert conninfo_to_dict(database_url(connection)) == conninfo_to_dict(url)


def test_a_sqlite_path_survives_being_a_connection() -> None:
    """A file's path comes back as it was."""
    url = "sqlite:////srv/my shop/sho%70.db"
    assert database_url(Connection.from_json(source_connection(url))) == url


@pytest.fixture
def run(
    tmp_path: Path,
    step_server_address: str,
    metadata_database: None,
    monkeypatch: pytest.MonkeyPatch,
) -> RunDirectory:
    """A run's folder with a filled source; the connections and variables that point to it."""
    run = RunDirectory(tmp_path)
    settings = RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")
    fill_source(settings.source_url, load_dataset("synthetic"), DAY)
    for name, value in pipeline_environment(settings).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(step_server.ENVIRONMENT_VARIABLE, step_server_address)
    return run


def forked(parent: psutil.Process) -> list[psutil.Process]:
    """The children that run the step server's code: step servers, or the steps of a server."""
    children = []
    for child in parent.children():
        with suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
            children += [child] if step_server.__name__ in child.cmdline() else []
    return children


def states(dag_run: DagRun) -> dict[str, str]:
    """The states of the task instances; mapped ones have their index after the name."""
    return {
        f"{ti.task_id}{'' if ti.map_index < 0 else ti.map_index}": str(ti.state)
        for ti in dag_run.get_task_instances()
    }


def test_one_interval_runs_through(dag: DAG, run: RunDirectory) -> None:
    """``dag.test()`` runs every step for the day before the logical date; XCom has row counts."""
    dag_run = dag.test(logical_date=NEXT_DAY)
    assert set(states(dag_run).values()) == {"success"}
    assert len(states(dag_run)) == len(STEPS)
    assert run.landing_file("orders", DataInterval.parse(DAY)).exists()
    assert run.dashboard.exists()
    counts = dag_run.get_task_instance("load_raw").xcom_pull(task_ids="load_raw")
    assert counts["orders"] > 0


def test_a_failed_staging_test_stops_the_marts(dag: DAG, run: RunDirectory) -> None:
    """A bad row fails the gate without a retry: no mart is built and nothing is published."""
    with sqlite3.connect(run.source_file) as connection:
        connection.execute(
            "UPDATE orders SET status = 'lost' WHERE id = (SELECT min(id) FROM orders)"
        )
    dag_run = dag.test(logical_date=NEXT_DAY)
    seen = states(dag_run)
    assert dag_run.state == "failed"
    assert seen["dbt_run_staging"] == "success"
    assert seen["dbt_test_staging"] == "failed"
    after = STEP_NAMES[STEP_NAMES.index("dbt_test_staging") + 1 :]
    assert {seen[step] for step in after} == {"upstream_failed"}
    assert not run.published.exists()
    attempts = [e.step for e in journal.read(run) if e.outcome != SUCCESS]
    assert attempts == ["dbt_test_staging"]


def test_a_stale_source_fails_the_check_at_once(dag: DAG, run: RunDirectory) -> None:
    """A source without new rows for days before the interval's end stops everything."""
    seen = states(dag.test(logical_date=NEXT_DAY + timedelta(days=3)))
    assert seen.pop("check_source_freshness") == "failed"
    assert set(seen.values()) == {"upstream_failed"}
    (attempt,) = journal.read(run)
    assert "the source is stale" in str(attempt.details["error"])


def test_a_timeout_leaves_no_step_at_work(
    dag: DAG, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``execution_timeout`` ends the task, and with it the process in which its step hangs."""
    check = dag.get_task("check_source_freshness")
    monkeypatch.setattr(check, "execution_timeout", timedelta(seconds=2))
    monkeypatch.setattr(check, "retries", 0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://reader@127.0.0.1:{silent.getsockname()[1]}/shop"
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE_DB", source_connection(url))
        dag_run = dag.test(logical_date=NEXT_DAY)
    assert states(dag_run)["check_source_freshness"] == "failed"
    (attempt,) = journal.read(run)
    assert "AirflowTaskTimeout" in str(attempt.details["error"])
    assert run.step_log(attempt.step, DataInterval.parse(DAY)).exists()
    assert [step for server in forked(psutil.Process()) for step in forked(server)] == []


# It takes SIGINT as pipeline-dbt does, also where these tests run in the background.
HANGING = """\
#!{python}
import os, pathlib, signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL)
pathlib.Path("{pid_file}").write_text(str(os.getpid()))
time.sleep(600)
"""


def test_a_timeout_ends_dbt(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dbt that hangs is stopped with its task, whose journal entry names the time-out."""
    hanging, pid_file = tmp_path / "hanging-dbt", tmp_path / "hanging-dbt.pid"
    hanging.write_text(HANGING.format(python=sys.executable, pid_file=pid_file))
    hanging.chmod(0o700)
    native = parsed(NATIVE)
    build = native.get_task("dbt_run_staging")
    for name, value in {
        "dbt_executable_path": str(hanging),
        "execution_timeout": timedelta(seconds=2),
        "retries": 0,
    }.items():
        monkeypatch.setattr(build, name, value)
    assert states(native.test(logical_date=NEXT_DAY))["dbt_run_staging"] == "failed"
    last = journal.read(run)[-1]
    assert (last.step, last.outcome) == ("dbt_run_staging", "failed")
    assert "AirflowTaskTimeout" in str(last.details["error"])
    (dbt,) = [p for p in psutil.Process().children() if p.pid == int(pid_file.read_text())]
    assert wait_until(lambda: has_ended(dbt), timeout_seconds=30)


def test_another_airflow_of_the_caller_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Airflow or dbt setting of the caller reaches the services, such as its own executor."""
    theirs = {
        "AIRFLOW__CORE__HOSTNAME_CALLABLE": "theirs.hostname",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_CMD": "false",
        "AIRFLOW_CONN_OTHER": "{}",
        "DBT_TARGET": "prod",
    }
    for name, value in {**theirs, "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor"}.items():
        monkeypatch.setenv(name, value)
    settings = RunSettings(RunDirectory(tmp_path), "sqlite:////srv/shop.db")
    environment = airflow_environment(settings, 8080, "postgresql://x", tmp_path, tmp_path)
    assert not theirs.keys() & environment.keys()
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert "127.0.0.1" in environment["no_proxy"].split(",")
