"""Runs the pipeline under real Airflow services, triggered through the REST API.

python airflow_impl/run.py --days 3
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
from api import Api, UnreachableError, Values
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.dbt_runner.manifest import manifest_file
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import free_port, wait_until
from ecommerce_pipeline.harness.command_line import main
from ecommerce_pipeline.harness.postgres_server import running_server
from ecommerce_pipeline.harness.services import Service, run_to_end
from ecommerce_pipeline.harness.variant import (
    NATIVE,
    NO_OP,
    check_path,
    pipeline_file,
    shared_step_server,
)
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, RUNNING, SKIPPED, SUCCESS, IntervalRun, StepRun
from ecommerce_pipeline.specification import EXTRACT_STEPS, longest_run_seconds
from services import (
    CALLBACK_SECONDS,
    PASSWORDS,
    USER,
    airflow_environment,
    dags_folder,
    new_password,
    wait_for_callbacks,
)

HERE = Path(__file__).parent
DAG_ID = "ecommerce_pipeline"
DAG = f"/api/v2/dags/{DAG_ID}"
HEALTH = "/api/v2/monitor/health"
WAREHOUSE_POOL = {"name": "warehouse", "slots": 1, "description": "DuckDB: one process at a time"}
EXPANDED = r"\$(\w+|\{[^}]*\})"  # by Airflow, in every path of its settings
START_SECONDS = 180.0
MIGRATION_SECONDS = 300.0
POLL_SECONDS = 0.2
STATES = {
    "success": SUCCESS,
    "failed": FAILED,
    "upstream_failed": SKIPPED,
    "skipped": SKIPPED,
    "removed": SKIPPED,
}

T = TypeVar("T")


class Airflow:
    """An API server, a scheduler and a Dag processor over a PostgreSQL metadata database."""

    name = "airflow"
    packages: Sequence[str] = (
        "apache-airflow-core",
        "apache-airflow-task-sdk",
        "astronomer-cosmos",
    )

    def __init__(self, form: str = NATIVE) -> None:
        self.form = form
        self._pipeline = pipeline_file(HERE, form).stem
        self.services: dict[str, Service] = {}
        self._stack = ExitStack()
        self._addresses: dict[str, str] = {}
        self._failed_at: datetime | None = None

    @property
    def addresses(self) -> Mapping[str, str]:
        """The URL of the user interface by a title that says where its password is."""
        return self._addresses

    def start(self, settings: RunSettings) -> None:
        """Start metadata database, step server and services; wait until the Dag is parsed.

        Raises:
            PipelineError: the folder's path has a variable, or a service ends or does not become
                healthy; its log is named.
        """
        check_path(settings.run, "Airflow", EXPANDED, "a variable of the environment")
        home, logs = settings.run.tool_home / "airflow", settings.run.path / "logs" / "airflow"
        logs.mkdir(parents=True, exist_ok=True)
        if self.form != NO_OP:
            manifest_file()  # or the first task, or Airflow's parser, would wait for dbt's
        metadata = settings.run.tool_home / "metadata"
        self.database_url = self._stack.enter_context(running_server(metadata))
        port = free_port()
        password = new_password(home)
        environment = {
            **airflow_environment(
                settings, port, self.database_url, home, dags_folder(home, self._pipeline)
            ),
            **self._stack.enter_context(shared_step_server(self.form)),
        }
        _migrate(environment, logs / "migrate.log")
        address = f"http://127.0.0.1:{port}"
        # Services stop in reverse order: tasks report to the API server until the scheduler has
        # stopped, and the Dag processor must run the callbacks that the scheduler requests.
        self._start_service("api-server", environment, logs)
        self.api = self._stack.enter_context(closing(Api(address)))
        self._start_service("dag-processor", environment, logs)
        self._stack.callback(self._wait_for_callbacks)
        # The scheduler's log server would listen on all interfaces. The API server reads the files.
        self._start_service("scheduler --skip-serve-logs", environment, logs)
        self._stack.callback(self._wait_for_callback_request)
        self._wait_for_start(self._is_healthy, "Airflow is not healthy", logs)
        self._ask(lambda: self.api.log_in(USER, password))
        self._wait_for_start(self._has_parsed_the_dag, "Airflow has not parsed the Dag", logs)
        self._ask(lambda: self.api.create("/api/v2/pools", WAREHOUSE_POOL))
        self._addresses = {f"Airflow (user {USER}, password in {home / PASSWORDS})": address}

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Trigger the interval's run, or clear an existing one to rerun it; wait for its end."""
        run = self.trigger(interval)
        self.wait_until(
            lambda: self.api.get(run)["state"] in (SUCCESS, FAILED), f"the run of {interval.label}"
        )
        return self._interval_run(interval, self._ask(lambda: self.api.get(run)))

    def trigger(self, interval: DataInterval) -> str:
        """Start the interval's run; return the path of the Dag run in the API."""
        body = {
            "logical_date": interval.start.isoformat(),
            "data_interval_start": interval.start.isoformat(),
            "data_interval_end": interval.end.isoformat(),
        }
        # Airflow keeps one Dag run for each logical date: an interval that ran before is cleared.
        created = self._ask(lambda: self.api.create(f"{DAG}/dagRuns", body))
        path = _run_path(created or self._runs([interval])[0])
        if created is None:
            self._ask(lambda: self.api.post(f"{path}/clear", {"dry_run": False}))
        return path

    def wait_until(
        self, condition: Callable[[], bool], what: str, timeout_seconds: float | None = None
    ) -> None:
        """Poll until the condition is true, and restart services that have exited meanwhile.

        Args:
            condition: what is waited for.
            what: the same in words.
            timeout_seconds: how long to go on asking; default: what one interval's steps have.

        Raises:
            PipelineError: it has not come true in time.
        """

        def is_true() -> bool:
            for service in self.services.values():
                service.restart_if_exited()
            try:
                return condition()
            except UnreachableError:
                return False  # the API server was just restarted

        limit = longest_run_seconds() if timeout_seconds is None else timeout_seconds
        if not wait_until(is_true, timeout_seconds=limit, poll_seconds=POLL_SECONDS):
            raise PipelineError(
                f"{what} has not ended after {limit:g} s", "read the logs of Airflow's services"
            )

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Run Airflow's own backfill from the first interval to the last and wait for its end."""
        body = {
            "dag_id": DAG_ID,
            "from_date": intervals[0].start.isoformat(),
            "to_date": intervals[-1].start.isoformat(),
            "max_active_runs": 1,
            "reprocess_behavior": "completed",  # the default would skip intervals that have a run
        }
        created = self._ask(lambda: self.api.post("/api/v2/backfills", body))
        path = f"/api/v2/backfills/{created['id']}"
        self.wait_until(
            lambda: self.api.get(path)["completed_at"] is not None,
            "the backfill",
            longest_run_seconds(len(intervals)),
        )
        runs = zip(intervals, self._runs(intervals), strict=True)
        return [self._interval_run(interval, run) for interval, run in runs]

    def stop(self) -> None:
        """Stop scheduler, Dag processor, API server, step server and database, in this order."""
        self._stack.close()
        self.services.clear()

    def _start_service(self, arguments: str, environment: Mapping[str, str], logs: Path) -> None:
        name, *_ = arguments.split()
        command = [sys.executable, "-m", "airflow", *arguments.split()]
        service = Service(f"airflow {name}", command, environment, logs / f"{name}.log")
        self._stack.callback(service.stop)
        self.services[name] = service

    def _wait_for_callback_request(self) -> None:
        """Wait until the scheduler has requested the notification of a failed run."""
        # The scheduler requests the callback of a failed run some time after the API shows the
        # failure, but before its next heartbeat. Stopped earlier, it never would.
        failed_at = self._failed_at
        if failed_at:
            wait_until(
                lambda: self._had_heartbeat_after(failed_at),
                timeout_seconds=CALLBACK_SECONDS,
                poll_seconds=POLL_SECONDS,
            )

    def _had_heartbeat_after(self, moment: datetime) -> bool:
        """Whether the scheduler had a heartbeat later; also true when none can come any more."""
        if self.services["scheduler"].process.poll() is not None:
            return True
        try:
            heartbeat = _time(self.api.get(HEALTH)["scheduler"]["latest_scheduler_heartbeat"])
        except UnreachableError:
            return True
        return heartbeat is None or heartbeat > moment

    def _wait_for_callbacks(self) -> None:
        """Wait for the notification of a failed run."""
        # Airflow runs the callback in the Dag processor after the run has ended. Stopped too early,
        # it would never notify.
        if self._failed_at:
            wait_for_callbacks(self.database_url, self.services["dag-processor"])

    def _wait_for_start(self, condition: Callable[[], bool], problem: str, logs: Path) -> None:
        def is_true() -> bool:
            for service in self.services.values():
                service.restart_if_killed()
            with suppress(UnreachableError):  # the API server is still starting
                return condition()
            return False

        if not wait_until(is_true, timeout_seconds=START_SECONDS, poll_seconds=POLL_SECONDS):
            raise PipelineError(f"{problem} after {START_SECONDS:g} s", f"read {logs}")

    def _ask(self, request: Callable[[], T]) -> T:
        """Send a request, again once an API server that has exited is up again.

        Raises:
            PipelineError: the response is an error, or the API server does not come up.
        """
        answers: list[T] = []

        def is_answered() -> bool:
            answers.append(request())
            return True

        self.wait_until(is_answered, "the API server's start", timeout_seconds=START_SECONDS)
        return answers[0]

    def _is_healthy(self) -> bool:
        health = self.api.get(HEALTH)
        parts = ("metadatabase", "scheduler", "dag_processor")
        return all(health[part]["status"] == "healthy" for part in parts)

    def _has_parsed_the_dag(self) -> bool:
        for error in self.api.get("/api/v2/importErrors")["import_errors"]:
            reason = error["stack_trace"].strip().splitlines()[-1]
            raise PipelineError(f"Airflow cannot import {error['filename']}: {reason}", "fix it")
        return self.api.exists(DAG)

    def _runs(self, intervals: Sequence[DataInterval]) -> list[Values]:
        """The Dag runs of the intervals, in the order of their logical dates."""
        found = self._ask(
            lambda: self.api.get(
                f"{DAG}/dagRuns",
                logical_date_gte=intervals[0].start.isoformat(),
                logical_date_lte=intervals[-1].start.isoformat(),
                order_by="logical_date",
                limit=len(intervals),
            )
        )
        return list(found["dag_runs"])

    def _interval_run(self, interval: DataInterval, run: Values) -> IntervalRun:
        if run["state"] == FAILED:
            self._failed_at = datetime.now(UTC)
        instances = self._ask(lambda: self.api.get(f"{_run_path(run)}/taskInstances", limit=100))
        steps = sorted(_step_runs(instances["task_instances"]), key=_by_start)
        return IntervalRun(
            interval=str(interval),
            run_id=run["dag_run_id"],
            state=STATES.get(run["state"], RUNNING),
            tool_state=run["state"],
            started_at=_time(run["start_date"]),
            ended_at=_time(run["end_date"]),
            steps=tuple(steps),
        )


def _migrate(environment: Mapping[str, str], log: Path) -> None:
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    name = "the creation of Airflow's metadata database"
    run_to_end(name, command, environment, log, timeout_seconds=MIGRATION_SECONDS)


def _run_path(run: Values) -> str:
    return f"{DAG}/dagRuns/{quote(run['dag_run_id'], safe='')}"


def _step_runs(instances: Sequence[Values]) -> list[StepRun]:
    """The steps of a run's task instances; a task group with a task for each model is one step."""
    steps: dict[str, StepRun] = {}
    for step in map(_step_run, instances):
        steps[step.name] = _together(steps[step.name], step) if step.name in steps else step
    return list(steps.values())


def _together(one: StepRun, other: StepRun) -> StepRun:
    worse = one if one.state != SUCCESS else other
    starts, ends = (
        [moment for moment in moments if moment]
        for moments in ((one.started_at, other.started_at), (one.ended_at, other.ended_at))
    )
    return replace(
        worse,
        attempts=max(one.attempts, other.attempts),
        started_at=min(starts, default=None),
        ended_at=max(ends, default=None),
    )


def _step_run(instance: Values) -> StepRun:
    started = instance["try_number"] > 0
    return StepRun(
        name=_step_name(instance),
        state=STATES.get(instance["state"], RUNNING),
        tool_state=instance["state"] or "none",
        attempts=instance["try_number"],
        started_at=_time(instance["start_date"]) if started else None,
        ended_at=_time(instance["end_date"]) if started else None,
    )


def _step_name(instance: Values) -> str:
    """The step's name; for a mapped task, its map index as the Dag's template renders it."""
    # Airflow renders the index once the task starts; until then it is the bare number.
    if instance["map_index"] < 0:
        return str(instance["task_id"]).partition(".")[0]  # of a model, its task group
    rendered = instance["rendered_map_index"] or ""
    return EXTRACT_STEPS[instance["map_index"]] if rendered.isdecimal() else rendered


def _by_start(step: StepRun) -> tuple[bool, float]:
    return step.started_at is None, step.started_at.timestamp() if step.started_at else 0.0


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


VARIANT = Airflow

if __name__ == "__main__":
    main(VARIANT, HERE)
