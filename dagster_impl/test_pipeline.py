"""The assets as Dagster runs them in this process, and the services that run.py starts."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import dagster as dg
import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import catalog
import noop
import pipeline
from client import PASSWORD_FILE, authorization
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.contract import CUSTOMERS, ORDERS, TABLE_BY_NAME
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.processes import free_port
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_BY_NAME, STEP_NAMES, STEPS
from ecommerce_pipeline.storage import journal
from pipeline_verification.harness.control import advance_source, fill_source
from run import Dagster, dagster_environment

FIRST_DAY, SECOND_DAY = "2025-01-01", "2025-01-02"
BLOCK_BYTES = 262144  # of a DuckDB file
Graph = Mapping[str, Iterable[str]]


@pytest.fixture(scope="module", autouse=True)
def shared_step_server() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as environment, step_server.running() as address:
        environment.setenv(step_server.ENVIRONMENT_VARIABLE, str(address))
        yield


@pytest.fixture(scope="module")
def job() -> dg.JobDefinition:
    return pipeline.defs.resolve_job_def("daily")


@pytest.fixture(scope="module", params=[pipeline, noop])
def any_job(request: pytest.FixtureRequest) -> dg.JobDefinition:
    """The job of the pipeline, and the job of the same steps doing nothing."""
    definitions: dg.Definitions = request.param.defs
    return definitions.resolve_job_def("daily")


@pytest.fixture(scope="module")
def first_run(
    tmp_path_factory: pytest.TempPathFactory, job: dg.JobDefinition
) -> tuple[RunDirectory, dg.ExecuteInProcessResult]:
    """A folder after the first day's run, with the run's result; its source has two days."""
    run = RunDirectory(tmp_path_factory.mktemp("first-day"))
    url = f"sqlite:///{run.source_file}"
    fill_source(url, load_dataset("synthetic"), FIRST_DAY)
    result = execute(job, run, FIRST_DAY)
    advance_source(url, load_dataset("synthetic"), SECOND_DAY)
    return run, result


@pytest.fixture
def run(first_run: tuple[RunDirectory, dg.ExecuteInProcessResult], tmp_path: Path) -> RunDirectory:
    folder = tmp_path / "run"
    shutil.copytree(first_run[0].path, folder, symlinks=True)
    return RunDirectory(folder)


@pytest.fixture(scope="module")
def services(
    first_run: tuple[RunDirectory, dg.ExecuteInProcessResult],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Dagster]:
    folder = tmp_path_factory.mktemp("services") / "run"
    run = RunDirectory(shutil.copytree(first_run[0].path, folder, symlinks=True))
    variant = Dagster()
    before = set(psutil.Process().children(recursive=True))
    try:
        variant.start(RunSettings(run=run, source_url=f"sqlite:///{run.source_file}"))
        yield variant
    finally:
        variant.stop()
    assert set(psutil.Process().children(recursive=True)) <= before


def execute(
    job: dg.JobDefinition, run: RunDirectory, day: str, instance: dg.DagsterInstance | None = None
) -> dg.ExecuteInProcessResult:
    """Run one partition in this process; the source is the folder's ``source.db``."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PIPELINE_RUN_DIR", str(run.path))
        return job.execute_in_process(partition_key=day, instance=instance, raise_on_error=False)


def resource(run: RunDirectory, source_url: str = "") -> pipeline.Pipeline:
    return pipeline.Pipeline(
        run_dir=str(run.path),
        source_url=source_url,
        max_staleness_hours="48",
        slack_webhook_url="",
    )


def states(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """How each step that started ended."""
    ends = {dg.DagsterEventType.STEP_SUCCESS: "success", dg.DagsterEventType.STEP_FAILURE: "failed"}
    return {
        str(event.step_key): ends[event.event_type]
        for event in result.all_events
        if event.event_type in ends
    }


def notifications(run: RunDirectory) -> list[dict[str, str]]:
    return [json.loads(line) for line in run.notifications.read_text().splitlines()]


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

    def seen(unique_id: str) -> set[str]:
        parent = nodes.get(unique_id, {})
        if parent.get("config", {}).get("materialized") == "ephemeral":
            return set().union(*map(seen, parents[unique_id]))
        return {name(unique_id)}

    return {
        name(unique_id): set().union(*map(seen, parents[unique_id]))
        for unique_id, node in nodes.items()
        if node["resource_type"] in ("model", "snapshot")
        and node["config"]["materialized"] != "ephemeral"
    }


def test_the_definitions_load() -> None:
    """Dagster can load the location: assets, checks, job, schedule, sensor and resource."""
    dg.Definitions.validate_loadable(pipeline.defs)


def test_each_step_waits_for_those_that_the_specification_names(
    any_job: dg.JobDefinition,
) -> None:
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


def test_retries_are_those_of_the_specification(job: dg.JobDefinition) -> None:
    """A step is tried again as specified, after 1 and 2 s."""
    for node in job.nodes:
        assert isinstance(node.definition, dg.OpDefinition)
        step, policy = STEP_BY_NAME[node.name], node.definition.retry_policy
        assert policy is not None
        assert policy.max_retries == step.retries
        assert [policy.calculate_delay(attempt) for attempt in (1, 2)] == [1, 2]


def test_a_partition_runs_every_step_once(
    first_run: tuple[RunDirectory, dg.ExecuteInProcessResult],
) -> None:
    """The day's run succeeds in every step, and every check that is defined has a result."""
    run, result = first_run
    assert states(result) == dict.fromkeys(STEP_NAMES, "success")
    assert len(journal.read(run)) == len(STEP_NAMES)
    evaluated = {check.asset_check_key for check in result.get_asset_check_evaluations()}
    assert evaluated == pipeline.defs.resolve_asset_graph().asset_check_keys
    assert notifications(run)[-1]["kind"] == "success"


def test_a_materialization_describes_the_table(
    first_run: tuple[RunDirectory, dg.ExecuteInProcessResult],
) -> None:
    """Rows, bytes, columns with their origins, and a preview without personal data are on it."""
    run, result = first_run
    made: dict[dg.AssetKey, dict[str, Any]] = {
        materialization.asset_key: {k: v.value for k, v in materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        for materialization in [event.step_materialization_data.materialization]
    }
    assert set(made) == pipeline.defs.resolve_asset_graph().materializable_asset_keys
    customers = made[dg.AssetKey(["marts", "dim_customers"])]
    with duckdb.connect(run.warehouse, read_only=True) as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM marts.dim_customers").fetchall()
    assert customers["dagster/row_count"] == rows > 0
    assert customers["bytes"] in (BLOCK_BYTES, 2 * BLOCK_BYTES)
    assert "lifetime_value" in customers["preview"]
    assert "email" not in customers["preview"]
    lineage = customers["dagster/column_lineage"].deps_by_column["first_order_at"]
    fct_orders = dg.AssetKey(["marts", "fct_orders"])
    assert lineage == [dg.TableColumnDep(asset_key=fct_orders, column_name="ordered_at")]


@pytest.mark.parametrize("name", ["country=DE", "run*"])
def test_a_landing_file_is_described_as_it_is(tmp_path: Path, name: str) -> None:
    """A folder that DuckDB could take for a partition or a pattern does not change the metadata."""
    schema = pa.schema([("id", pa.int64()), ("country", pa.string())])
    for folder, country in (("run-2", "PT"), (name, "GB")):
        (tmp_path / folder).mkdir()
        rows = pa.Table.from_pylist([{"id": 1, "country": country}], schema)
        pq.write_table(rows, tmp_path / folder / "day.parquet")
    metadata: Any = catalog.landed(tmp_path / name / "day.parquet", CUSTOMERS).metadata
    assert metadata["dagster/row_count"] == 1
    assert "GB" in metadata["preview"].md_str


def test_one_step_can_be_called_alone(run: RunDirectory) -> None:
    """Called directly, a step lands exactly the rows that changed in its partition."""
    context = dg.build_asset_context(partition_key=SECOND_DAY)
    made: Any = pipeline.extract(ORDERS)(context, pipeline=resource(run))
    interval = DataInterval.parse(SECOND_DAY)
    with sqlite3.connect(run.source_file) as source:
        [(rows,)] = source.execute(
            "SELECT count(*) FROM orders WHERE updated_at >= ? AND updated_at < ?",
            [int(moment.timestamp() * 1_000_000) for moment in (interval.start, interval.end)],
        ).fetchall()
    assert made.metadata["dagster/row_count"] == rows > 0


def test_one_mart_can_be_materialized_alone(run: RunDirectory) -> None:
    """Selecting one table of a step that makes several records that table and no other."""
    result = dg.materialize(
        [pipeline.dbt_run_marts],
        selection=["marts/fct_orders"],
        partition_key=FIRST_DAY,
        resources={"pipeline": resource(run)},
    )
    keys = [event.asset_key for event in result.get_asset_materialization_events()]
    assert keys == [dg.AssetKey(["marts", "fct_orders"])]


def test_a_failed_staging_test_stops_the_history_and_every_mart(
    run: RunDirectory, job: dg.JobDefinition
) -> None:
    """A bad row fails its check and the step once; nothing later starts or is published."""
    published, dashboard = run.published.resolve(), run.dashboard.read_bytes()
    with sqlite3.connect(run.source_file) as connection:
        connection.execute(
            "UPDATE orders SET status = 'lost' WHERE id ="
            " (SELECT id FROM orders WHERE updated_at >= ? LIMIT 1)",
            [int(datetime(2025, 1, 2, tzinfo=UTC).timestamp() * 1_000_000)],
        )
    result = execute(job, run, SECOND_DAY)
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
    run: RunDirectory, job: dg.JobDefinition
) -> None:
    """Three days after the source's newest row no table is extracted."""
    result = execute(job, run, "2025-01-05")
    assert states(result) == {"check_source_freshness": "failed"}
    checks = result.get_asset_check_evaluations()
    assert [check.passed for check in checks] == [False] * len(TABLE_BY_NAME)
    assert "stale" in str(checks[0].description)


def test_an_unreachable_source_is_tried_again(run: RunDirectory) -> None:
    """An unreachable source is tried three times in all before the run fails."""
    url = f"postgresql://reader@127.0.0.1:{free_port()}/shop"
    result = dg.materialize(
        [pipeline.extract(ORDERS)],
        partition_key=SECOND_DAY,
        resources={"pipeline": resource(run, source_url=url)},
        raise_on_error=False,
    )
    assert states(result) == {"extract_orders": "failed"}
    assert result.retry_attempts_for_node("extract_orders") == 2


def test_a_failed_run_notifies_once(run: RunDirectory, job: dg.JobDefinition) -> None:
    """The sensor notifies which step failed and why, but not when Dagster retries the run."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = execute(job, run, "2025-01-05", instance)
        for tags in ({}, {"dagster/will_retry": "true"}):
            context = dg.build_run_status_sensor_context(
                sensor_name="notify_failure",
                dagster_event=result.get_run_failure_event(),
                dagster_instance=instance,
                dagster_run=result.dagster_run.with_tags({**result.dagster_run.tags, **tags}),
                resources={"pipeline": resource(run)},
            ).for_run_failure()
            pipeline.notify_failure(context)
    (message,) = [sent for sent in notifications(run) if sent["kind"] == "failure"]
    assert message["step"] == "check_source_freshness"
    assert "stale" in json.dumps(message)


def test_at_six_the_day_before_is_run() -> None:
    """The schedule's tick of 10 January, 06:00 UTC, asks for the partition of the 9th."""
    schedule = pipeline.every_morning
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("0 6 * * *", "UTC")
    tick = dg.build_schedule_context(scheduled_execution_time=datetime(2025, 1, 10, 6, tzinfo=UTC))
    request: Any = schedule(tick)
    assert request.partition_key == "2025-01-09"


def test_the_graph_that_the_api_shows_is_the_pipeline(services: Dagster) -> None:
    """Between sources and dashboard lies dbt's own lineage, and every source table reaches it."""
    query = "{ assetNodes { assetKey { path } dependencyKeys { path } } }"
    graph = {
        "/".join(node["assetKey"]["path"]): {
            "/".join(key["path"]) for key in node["dependencyKeys"]
        }
        for node in services.client.ask(query)["assetNodes"]
    }
    expected = dbt_lineage()
    expected["marts/dim_customers"].add("snapshots/snap_customers")  # the order of the steps
    assert {asset: graph[asset] for asset in expected} == expected
    sources = {f"source/{table}" for table in TABLE_BY_NAME}
    assert sources <= with_all_upstream(graph)["sales_dashboard"]


def test_the_services_listen_on_loopback_alone(services: Dagster) -> None:
    """No service or anything that it started can be reached from another machine."""
    listening = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


LAUNCH_ALL = "mutation { launchMultipleRuns(executionParamsList: []) { __typename } }"


def status(
    services: Dagster, path: str, headers: Mapping[str, str] = {}, body: bytes | None = None
) -> int:
    """The status that the webserver answers to a request with these headers."""
    (address,) = services.addresses.values()
    request = urllib.request.Request(address + path, body, dict(headers))  # noqa: S310 (loopback)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_answers_nobody_without_the_password(services: Dagster) -> None:
    """Without the password no page, query or report is answered, and the file of it is private."""
    file = services._home / PASSWORD_FILE
    assert file.stat().st_mode & 0o077 == 0
    for path in ("/", "/graphql?query={version}", "/server_info", "/logs/x", "/graphql"):
        assert status(services, path) == 401, path
    for path in ("/graphql", "/report_asset_materialization/x"):
        assert status(services, path, body=b"{}") == 401
        assert status(services, path, {"Authorization": authorization("guess")}, b"{}") == 401
    assert status(services, "/", {"Authorization": authorization(file.read_text())}) == 200


def test_no_other_web_page_can_use_the_password(services: Dagster) -> None:
    """With the password, which a browser repeats, requests of foreign pages are refused."""
    known = {"Authorization": authorization((services._home / PASSWORD_FILE).read_text())}
    (address,) = services.addresses.values()
    query = f"/graphql?query={quote(LAUNCH_ALL)}"
    body = json.dumps({"query": LAUNCH_ALL}).encode()
    json_type = {"Content-Type": "application/json", **known}
    assert status(services, "/graphql", {**json_type, "Origin": address}, body) == 200
    assert status(services, query, known) == 405
    assert status(services, query, {**known, "Content-Type": "text/plain"}, b"x") == 405
    foreign: dict[str, str]
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Host": "evil.example"},  # a name that resolves to loopback
    ):
        assert status(services, "/graphql", {**json_type, **foreign}, body) == 403, foreign
        assert status(services, "/", {**known, **foreign}) == 403, foreign


def test_no_other_web_page_can_open_a_web_socket(services: Dagster) -> None:
    """A WebSocket, on which queries can be sent too, needs the password and no foreign origin."""
    (address,) = services.addresses.values()
    host = address.removeprefix("http://")
    known = f"Authorization: {authorization((services._home / PASSWORD_FILE).read_text())}"

    def answer(*headers: str) -> str:
        upgrade = (
            "GET /graphql HTTP/1.1",
            f"Host: {host}",
            *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
            *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: graphql-ws"),
            *headers,
        )
        name, _, port = host.partition(":")
        with socket.create_connection((name, int(port)), timeout=60) as connection:
            connection.sendall("\r\n".join([*upgrade, "", ""]).encode())
            return connection.recv(1000).split(b" ")[1].decode()

    assert answer(known, f"Origin: {address}") == "101"
    assert answer(known, "Origin: https://evil.example") == "403"
    assert answer(f"Origin: {address}") == "403"


def test_another_dagster_of_the_caller_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Dagster or dbt setting of the caller reaches the services, such as its own instance."""
    theirs = {"DAGSTER_WEBSERVER_PORT": "1", "DAGSTER_CURRENT_IMAGE": "x", "DBT_TARGET": "prod"}
    for name, value in {**theirs, "DAGSTER_HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    environment = dagster_environment(RunSettings(RunDirectory(tmp_path), "sqlite:////shop.db"))
    assert not theirs.keys() & environment.keys()
    assert environment["DAGSTER_HOME"] == str(tmp_path / "tool")
    assert "127.0.0.1" in environment["no_proxy"].split(",")


def test_a_path_that_dagster_would_unescape_is_refused(tmp_path: Path) -> None:
    """A %-escape in the path, which Dagster cannot open, is refused before anything starts."""
    run = RunDirectory(tmp_path / "a%20b")
    with pytest.raises(PipelineError, match="Dagster would take %20 in the run's folder"):
        Dagster().start(RunSettings(run, f"sqlite:///{run.source_file}"))
    assert list(tmp_path.iterdir()) == []
