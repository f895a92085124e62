"""The flows under Prefect's test harness: its own server, real steps, real data."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from multiprocessing import resource_tracker
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psutil
import pytest
from prefect import Flow, flow, unmapped
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
)
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.client.schemas.schedules import CronSchedule
from prefect.flow_engine import run_flow
from prefect.states import Crashed, Running, Scheduled
from prefect.testing.utilities import prefect_test_harness
from sqlalchemy import make_url

import deployment
import noop
import pipeline as native
import pipeline_step_server
from constants import (
    PIPELINE_DEPLOYMENT,
    PIPELINE_FLOW,
    SETTINGS_VARIABLE,
    WAREHOUSE,
    WORK_POOL,
)
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.processes import free_port, wait_until
from ecommerce_pipeline.harness.variant import NATIVE, NO_OP, STEP_SERVER
from ecommerce_pipeline.interval import DataInterval, parse_day
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_NAMES, STEPS
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.journal import JournalEntry
from pipeline import notify_failure
from pipeline_verification.harness.control import advance_source, fill_source
from run import Prefect, prefect_environment
from settings import data_interval, step_context

FIRST_DAY, SECOND_DAY, NO_OP_DAY = "2025-01-01", "2025-01-02", "2025-01-03"
TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    """A Prefect server with an empty database, and a step server with dbt imported."""
    resource_tracker.ensure_running()  # of Python, for dbt's semaphores; it ends with the tests
    before = set(psutil.Process().children(recursive=True))
    with (
        pytest.MonkeyPatch.context() as environment,
        step_server.running() as address,
        prefect_test_harness(server_startup_timeout=300),
    ):
        environment.setenv(step_server.ENVIRONMENT_VARIABLE, str(address))
        yield
    assert set(psutil.Process().children(recursive=True)) <= before


@pytest.fixture(scope="module", params=[NATIVE, STEP_SERVER])
def flows(request: pytest.FixtureRequest) -> ModuleType:
    """The module of a form of the pipeline."""
    return {NATIVE: native, STEP_SERVER: pipeline_step_server}[request.param]


@pytest.fixture(scope="module")
def first_day(flows: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A folder after the first day's run; its source is at the end of the second."""
    run = RunDirectory(tmp_path_factory.mktemp("first-day"))
    url = f"sqlite:///{run.source_file}"
    fill_source(url, load_dataset("synthetic"), FIRST_DAY)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PIPELINE_RUN_DIR", str(run.path))
        flows.pipeline(FIRST_DAY)
    advance_source(url, load_dataset("synthetic"), SECOND_DAY)
    return run


@pytest.fixture
def run(first_day: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A copy of the folder, for the test's flow runs."""
    folder = tmp_path / "run"
    shutil.copytree(first_day.path, folder, symlinks=True)
    monkeypatch.setenv("PIPELINE_RUN_DIR", str(folder))
    return RunDirectory(folder)


def last_flow_run(name: str) -> FlowRun:
    with get_client(sync_client=True) as client:
        runs = [run for run in client.read_flow_runs() if run.name == name]
    return max(runs, key=attrgetter("created"))


def task_runs(flow_run: FlowRun) -> list[TaskRun]:
    """The task runs of the flow run's steps, once their last states have reached the server."""
    return [run for run in all_task_runs(flow_run) if "__parents__" not in run.task_inputs]


def all_task_runs(flow_run: FlowRun) -> list[TaskRun]:
    """The flow run's task runs, those of dbt's nodes included."""
    of_flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run.id]))
    with get_client(sync_client=True) as client:
        found: list[TaskRun] = []

        def have_ended() -> bool:
            found[:] = client.read_task_runs(flow_run_filter=of_flow_run)
            return all(run.state_type in TERMINAL for run in found)

        wait_until(have_ended, timeout_seconds=10)
    return sorted(found, key=attrgetter("start_time"))


def retry(pipeline: Flow[..., Any], flow_run: FlowRun) -> None:
    """What ``prefect flow-run retry --entrypoint pipeline.py:pipeline`` does."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, Scheduled(), force=True)
        flow_run = client.read_flow_run(flow_run.id)
    run_flow(pipeline, flow_run=flow_run, parameters=flow_run.parameters)


def steps_run(run: RunDirectory) -> list[str]:
    return [entry.step for entry in journal.read(run, DataInterval.parse(SECOND_DAY))]


def break_a_row(run: RunDirectory) -> None:
    """Give an order of the second day a status that the staging tests refuse."""
    with sqlite3.connect(run.source_file) as connection:
        connection.execute(
            "UPDATE orders SET status = 'lost' WHERE id ="
            " (SELECT id FROM orders WHERE updated_at >= ? LIMIT 1)",
            [int(datetime(2025, 1, 2, tzinfo=UTC).timestamp() * 1_000_000)],
        )


def test_the_task_runs_are_the_steps_of_the_specification(first_day: RunDirectory) -> None:
    """The API reports every step once, completed, in order, under a name with the interval."""
    found = task_runs(last_flow_run(FIRST_DAY))
    assert {task_run.name for task_run in found} == {f"{step} {FIRST_DAY}" for step in STEP_NAMES}
    assert_all_in_order(found)


def test_the_tasks_that_do_nothing_are_the_same() -> None:
    """noop.py has every specified step, completed, in order."""
    noop.pipeline(NO_OP_DAY)
    assert_all_in_order(task_runs(last_flow_run(NO_OP_DAY)))


def assert_all_in_order(found: list[TaskRun]) -> None:
    assert {task_run.state_name for task_run in found} == {"Completed"}
    names = [task_run.name.split()[0] for task_run in found]
    assert Counter(names) == Counter(STEP_NAMES)
    alone = [name for name in names if name not in EXTRACT_STEPS]
    assert alone == [step for step in STEP_NAMES if step not in EXTRACT_STEPS]


def test_the_artifacts_are_a_table_of_rows_and_a_report(first_day: RunDirectory) -> None:
    """A run leaves its rows by table, and a page that links to the dashboard."""
    of_flow_run = FlowRunFilter(id=FlowRunFilterId(any_=[last_flow_run(FIRST_DAY).id]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(flow_run_filter=of_flow_run)
    artifacts = {artifact.key: artifact for artifact in found}
    assert '"table": "fct_orders"' in str(artifacts["rows"].data)
    assert first_day.dashboard.as_uri() in str(artifacts["report"].data)


def test_each_node_of_dbt_is_a_task_run_of_its_step(
    flows: ModuleType, first_day: RunDirectory
) -> None:
    """In the native form dbt's nodes are task runs, each with its step's task run as parent."""
    found = all_task_runs(last_flow_run(FIRST_DAY))
    steps = {
        str(run.id): run.name.split()[0] for run in found if "__parents__" not in run.task_inputs
    }
    nodes = {run.name: run for run in found if "__parents__" in run.task_inputs}
    if flows is pipeline_step_server:
        assert not nodes
        return
    assert {run.state_name for run in nodes.values()} == {"Completed"}
    for name, step in {
        "model stg_orders": "dbt_run_staging",
        "test raw_order_status_is_known": "dbt_test_staging",
        "snapshot snap_customers": "dbt_snapshot",
        "model fct_orders": "dbt_run_marts",
        "test item_count_is_not_negative": "dbt_test_marts",
    }.items():
        (parent,) = nodes[name].task_inputs["__parents__"]
        assert steps[str(parent.id)] == step


def test_each_task_takes_its_numbers_from_the_specification(flows: ModuleType) -> None:
    """Retries, delays and the time-out of every task are those of its step."""
    for step in STEPS:
        task = flows.run_step.with_options(**flows.task_options(step.name))
        assert (task.name, task.retries) == (step.name, step.retries)
        assert task.retry_delay_seconds == [
            step.retry_delay_seconds * 2**attempt for attempt in range(step.retries)
        ]
        # The step server's own time-out comes first.
        later = pipeline_step_server.GRACE_SECONDS if flows is pipeline_step_server else 0
        assert task.timeout_seconds == step.timeout_seconds + later


def test_a_failed_staging_test_stops_the_marts(flows: ModuleType, run: RunDirectory) -> None:
    """A bad row fails the gate at once: no later task, the old published copy, one message."""
    break_a_row(run)
    published = run.published.resolve()
    messages = len(run.notifications.read_text().splitlines())
    assert flows.pipeline(SECOND_DAY, return_state=True).is_failed()
    last = task_runs(last_flow_run(SECOND_DAY))[-1]
    assert last.name == f"dbt_test_staging {SECOND_DAY}"
    assert (last.state_name, last.run_count) == ("Failed", 1)
    assert run.published.resolve() == published
    (message,) = run.notifications.read_text().splitlines()[messages:]
    assert '"step": "dbt_test_staging"' in message


@pytest.mark.parametrize(("run_count", "messages"), [(0, 1), (1, 0), (2, 0), (3, 1)])
def test_only_a_crash_that_is_not_resumed_notifies(
    run: RunDirectory, run_count: int, messages: int
) -> None:
    """A crash notifies when the run never started, or has started the maximum number of times.

    What an earlier run of the interval failed with is not named.
    """
    run.notifications.unlink()
    failed_before(run)
    with get_client(sync_client=True) as client:
        submitted = client.create_flow_run(native.pipeline, parameters={"interval": SECOND_DAY})
        for _ in range(run_count):
            client.set_flow_run_state(submitted.id, Running(), force=True)
            client.set_flow_run_state(submitted.id, Scheduled(), force=True)
    notify_failure(native.pipeline, submitted, Crashed(message="The process died."))
    sent = run.notifications.read_text().splitlines() if run.notifications.exists() else []
    assert len(sent) == messages
    assert "an earlier run" not in str(sent)


def failed_before(run: RunDirectory) -> None:
    """Note an attempt of an earlier run of the second day, made after that day's end."""
    at, interval = datetime(2025, 1, 4, tzinfo=UTC), str(DataInterval.parse(SECOND_DAY))
    error = {"error": "the reason of an earlier run"}
    journal.append(run, JournalEntry(interval, "load_raw", at, at, "failed", details=error))


def test_an_unreachable_source_is_tried_again(
    flows: ModuleType, run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unreachable source is tried three times in all before the run fails."""
    url = f"postgresql://reader@127.0.0.1:{free_port()}/shop"
    monkeypatch.setenv("PIPELINE_SOURCE_URL", url)
    assert flows.pipeline(SECOND_DAY, return_state=True).is_failed()
    (only,) = task_runs(last_flow_run(SECOND_DAY))
    assert (only.name, only.run_count) == (f"check_source_freshness {SECOND_DAY}", 3)


def test_a_resumed_run_skips_what_is_done(flows: ModuleType, run: RunDirectory) -> None:
    """Retried, a failed flow run does again only the step that failed and those after it."""
    shutil.rmtree(run.dashboard.parent)
    run.dashboard.parent.write_text("a file where a folder belongs")
    assert flows.pipeline(SECOND_DAY, return_state=True).is_failed()
    before = len(steps_run(run))
    run.dashboard.parent.unlink()
    retry(flows.pipeline, last_flow_run(SECOND_DAY))
    assert last_flow_run(SECOND_DAY).state_name == "Completed"
    assert steps_run(run)[before:] == ["refresh_dashboard", "notify_slack"]


def test_a_new_run_of_an_interval_skips_nothing(flows: ModuleType, run: RunDirectory) -> None:
    """The cache is the flow run's own: a second run of an interval extracts again."""
    context = step_context(DataInterval.parse(SECOND_DAY))
    extract = flows.run_step.with_options(**flows.task_options("extract_orders"))

    @flow
    def extraction() -> None:
        extract("extract_orders", context)
        extract("extract_orders", context)

    extraction()
    assert steps_run(run) == ["extract_orders"]
    extraction()
    assert steps_run(run) == ["extract_orders"] * 2


def step_processes() -> set[psutil.Process]:
    """The step processes that the step server runs now."""
    servers = [p for p in psutil.Process().children() if step_server.__name__ in p.cmdline()]
    return {child for server in servers for child in server.children()}


@pytest.mark.parametrize("mapped", [False, True])
def test_a_task_that_takes_too_long_leaves_no_process(
    flows: ModuleType, run: RunDirectory, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    """Prefect's own time-out ends a step that waits for its source, and notes the attempt."""
    step = "extract_orders"
    options = {**flows.task_options(step), "timeout_seconds": 1, "retries": 0}
    hasty = flows.run_step.with_options(**options)
    context = step_context(DataInterval.parse(SECOND_DAY))

    @flow
    def extract() -> str | None:
        if mapped:
            (future,) = hasty.map([step], unmapped(context))
            future.wait()
            return str(future.state.name)
        return hasty(step, context, return_state=True).name

    before = step_processes()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://reader@127.0.0.1:{silent.getsockname()[1]}/shop?connect_timeout=600"
        monkeypatch.setenv("PIPELINE_SOURCE_URL", url)
        context = step_context(DataInterval.parse(SECOND_DAY))
        assert extract() == "TimedOut"
        assert step_processes() <= before
    (entry,) = journal.read(run, DataInterval.parse(SECOND_DAY))
    assert (entry.step, entry.outcome) == (step, "failed")


def test_a_backfill_runs_each_day_as_a_flow_run_of_its_own(
    flows: ModuleType, run: RunDirectory
) -> None:
    """The days are subflow runs, oldest first, under one run that names the range."""
    flows.backfill(parse_day(FIRST_DAY), parse_day(SECOND_DAY))
    parent = last_flow_run(f"{FIRST_DAY} to {SECOND_DAY}")
    of_parent = FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[parent.id]))
    with get_client(sync_client=True) as client:
        children = client.read_flow_runs(flow_run_filter=of_parent)
    children.sort(key=attrgetter("start_time"))
    assert [child.name for child in children] == [FIRST_DAY, SECOND_DAY]
    assert {child.state_name for child in children} == {"Completed"}


def test_a_scheduled_run_processes_the_day_before() -> None:
    """Without an interval, a run takes the UTC day before the one for which it was scheduled."""
    due = datetime(2025, 3, 1, 6, tzinfo=UTC)
    assert data_interval(None, due) == DataInterval.parse("2025-02-28")
    assert data_interval("2025-01-31", due) == DataInterval.parse("2025-01-31")


def test_an_invalid_interval_is_refused_in_one_line(flows: ModuleType, run: RunDirectory) -> None:
    """A malformed interval fails the run before any step, saying how to write one."""
    state = flows.pipeline("2025-13-99", return_state=True)
    assert state.is_failed()
    assert "'2025-13-99' is not a calendar date; write it as YYYY-MM-DD" in str(state.message)
    assert steps_run(run) == []


def test_a_deployment_has_schedule_limits_and_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After deploying twice the server has one of everything, and its settings reach the steps."""
    monkeypatch.setenv("PIPELINE_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("PIPELINE_SOURCE_URL", "postgresql://reader:secret@db/shop")
    deployment.deploy()
    deployment.deploy(scheduled=False)
    monkeypatch.delenv("PIPELINE_RUN_DIR")
    monkeypatch.delenv("PIPELINE_SOURCE_URL")
    with get_client(sync_client=True) as client:
        daily = client.read_deployment_by_name(f"{PIPELINE_FLOW}/{PIPELINE_DEPLOYMENT}")
        automations = [automation.name for automation in client.read_automations()]
        pool = client.read_work_pool(WORK_POOL)
        limit = client.read_global_concurrency_limit_by_name(WAREHOUSE)
    (schedule,) = daily.schedules
    assert schedule.schedule == CronSchedule(cron="0 6 * * *", timezone="UTC")
    assert not schedule.active
    assert sorted(automations) == [
        "crash-silent-runs",
        "resume-crashed-runs",
        "schedule-pending-runs-again",
    ]
    assert (pool.concurrency_limit, limit.limit) == (1, 1)
    context = step_context(DataInterval.parse(FIRST_DAY))
    assert context.run == RunDirectory(tmp_path)
    assert context.source_url == "postgresql://reader:secret@db/shop"


def test_another_prefect_of_the_caller_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Prefect or dbt setting of the caller reaches the services, such as its own database."""
    theirs = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////nonexistent/theirs.db",
        "PREFECT_PROFILE": "theirs",
        "DBT_TARGET": "prod",
    }
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    settings = RunSettings(RunDirectory(tmp_path), "sqlite:////srv/shop.db")
    environment = prefect_environment(settings, "http://127.0.0.1:4200", "admin:secret")
    assert not theirs.items() & environment.items()
    assert "PREFECT_PROFILE" not in environment
    assert environment["PREFECT_HOME"] == str(tmp_path / "tool")
    assert "127.0.0.1" in environment["no_proxy"].split(",")


def test_the_server_answers_nobody_without_the_password(tmp_path: Path) -> None:
    """Without the password nothing is shown or changed, to a page of another origin neither."""
    run = RunDirectory(tmp_path / "run")
    variant = Prefect(NO_OP)
    try:
        variant.start(RunSettings(run, f"sqlite:///{run.source_file}"))
        (address,) = variant.addresses.values()
        for headers in ({}, {"Origin": "https://evil.example"}, {"Authorization": "Basic eDp5"}):
            with httpx.Client(
                base_url=f"{address}/api", headers=headers, timeout=60, trust_env=False
            ) as client:
                answers = [
                    client.post("/flow_runs/filter", json={}),
                    client.post("/flow_runs/filter", content=b"{}"),  # as a form of any page can
                    client.post("/variables/", json={"name": "x", "value": "y"}),
                    client.get("/block_types/slug/secret"),
                    client.delete(f"/variables/name/{SETTINGS_VARIABLE}"),
                ]
            assert {answer.status_code for answer in answers} == {401}
            # A browser asks for a password, and repeats it for other pages, only if challenged.
            assert not any("www-authenticate" in answer.headers for answer in answers)
    finally:
        variant.stop()


def test_the_database_of_an_odd_path_is_found(tmp_path: Path) -> None:
    """Prefect's database lies in the run's folder also where its path has a %-escape."""
    run = RunDirectory(tmp_path / "a%20b c#d")
    settings = RunSettings(run, "sqlite:////srv/shop.db")
    environment = prefect_environment(settings, "http://127.0.0.1:4200", "admin:secret")
    url = environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
    assert make_url(url).database == str(run.tool_home / "prefect.db")
