"""Runs the pipeline under real Dagster services, triggered through their GraphQL API.

python dagster_impl/run.py --days 3
"""

from __future__ import annotations

import json
import shutil
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
from client import LOCATION, PARTITION_TAG, PASSWORD_FILE, USER, Client, Run, authorization
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.dbt_runner.manifest import manifest_file
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.execution.processes import free_port, wait_until
from ecommerce_pipeline.files.temporary import locked_folder
from ecommerce_pipeline.harness.command_line import main
from ecommerce_pipeline.harness.services import Service, new_password
from ecommerce_pipeline.harness.variant import (
    NATIVE,
    check_path,
    pipeline_file,
    shared_step_server,
)
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, RUNNING, SKIPPED, SUCCESS, IntervalRun, StepRun
from ecommerce_pipeline.specification import longest_run_seconds

HERE = Path(__file__).parent
HOST = "127.0.0.1"
CODE_SERVER, DAEMON, WEBSERVER = "code-server", "daemon", "webserver"
ESCAPE = "%[0-9a-fA-F]{2}"  # in the URL that Dagster makes of its home
START_SECONDS = 180.0
NOTIFICATION_SECONDS = 60.0
POLL_SECONDS = 0.5
QUEUED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.QUEUED]
ACTIVE = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
STATES = {"SUCCESS": SUCCESS, "FAILURE": FAILED, "CANCELED": FAILED, "SKIPPED": SKIPPED}


T = TypeVar("T")


class Dagster:
    """A code server, a daemon and a webserver with an instance in the run's folder."""

    name = "dagster"
    packages: Sequence[str] = ("dagster", "dagster-dbt", "dagster-webserver")

    def __init__(self, form: str = NATIVE) -> None:
        self.form = form
        self._pipeline = pipeline_file(HERE, form).stem
        self.services: dict[str, Service] = {}
        self.addresses: Mapping[str, str] = {}
        self._stack = ExitStack()

    def start(self, settings: RunSettings) -> None:
        """Start step server and services; wait until the code is loaded and all are healthy.

        Raises:
            PipelineError: the folder's path has a %-escape, or a service ends or does not become
                healthy; its log is named.
        """
        check_path(settings.run, "Dagster", ESCAPE, "an escaped character")
        self._home, self._logs = settings.run.tool_home, settings.run.path / "logs" / "dagster"
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(HERE / "dagster.yaml", self._home)
        password = new_password(self._home / PASSWORD_FILE)
        self._cancel_unfinished_runs()
        manifest_file()  # once here, instead of in every process that loads the code
        self._environment = {
            **dagster_environment(settings),
            **self._stack.enter_context(shared_step_server(self.form)),
        }
        # Who reaches the code server has it run steps. It asks for no password, and a folder of
        # mode 0700 keeps others out.
        folder = self._stack.enter_context(locked_folder("pipeline-code-server-"))
        self._code_socket, web = folder / "socket", free_port()
        location = ["-m", self._pipeline, "--location-name", LOCATION]
        code = ["-s", str(self._code_socket), *location]
        self._serve(CODE_SERVER, "dagster", "api", "grpc", *code)
        self._wait_for_start(self._code_is_served)
        workspace = self._workspace()
        self._serve(DAEMON, "dagster-daemon", "run", "-w", workspace)
        page = ["-h", HOST, "-p", str(web), "-w", workspace]
        self._start_service(WEBSERVER, [sys.executable, str(HERE / "webserver.py"), *page])
        address, file = f"http://{HOST}:{web}", self._home / PASSWORD_FILE
        self.addresses = {f"Dagster (user {USER}, password in {file})": address}
        self.client = Client(address, authorization(password))
        self._wait_for_start(self._is_ready)

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Launch the job for the interval's partition and wait for its end."""
        partition = _partition(interval)
        self._wait_until_ready()
        launch = self.wait_until(
            lambda: self.client.launch(partition), f"the launch of {partition}", START_SECONDS
        )
        return self.wait(interval, launch)

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Launch Dagster's own backfill of the job over the partitions and wait for its end."""
        partitions = [_partition(interval) for interval in intervals]
        self._wait_until_ready()
        backfill = self.wait_until(
            lambda: self.client.launch_backfill(partitions), "the backfill's launch", START_SECONDS
        )
        limit = longest_run_seconds(len(intervals))
        self.wait_until(lambda: self.client.backfill_is_over(backfill), "the backfill", limit)
        its_own = [{"key": "dagster/backfill", "value": backfill}]
        runs = self.wait_until(
            lambda: self.client.runs(tags=its_own, steps=False), "the runs' list", START_SECONDS
        )
        first = {_tags(run)[PARTITION_TAG]: run["runId"] for run in reversed(runs)}
        wanted = {interval: first.get(_partition(interval)) for interval in intervals}
        return [self.wait(interval, run_id) for interval, run_id in wanted.items() if run_id]

    def stop(self) -> None:
        """Stop daemon, webserver, code server and step server, in this order."""
        # A run's process is a child of the code server and ends with it. A daemon that is still up
        # would then retry the run.
        with self._stack:
            for name in (DAEMON, WEBSERVER, CODE_SERVER):
                if name in self.services:
                    self.services.pop(name).stop()

    def restart_exited_services(self) -> None:
        """Restart services that have exited, as a service manager would."""
        if self.services[CODE_SERVER].process.poll() is not None:
            self._restart_code_server()
        self.services[WEBSERVER].restart_if_exited()
        # Only with the code server up: the daemon drops a retry whose code it cannot load.
        if self._code_is_served():
            self.services[DAEMON].restart_if_exited()

    def wait_until(self, condition: Callable[[], T | None], what: str, timeout_seconds: float) -> T:
        """Poll until the condition gives something true; restart exited services meanwhile.

        Args:
            condition: what is waited for.
            what: the same in words.
            timeout_seconds: how long to go on asking.

        Raises:
            PipelineError: it has not become true in time.
        """

        def found() -> T | None:
            self.restart_exited_services()
            with suppress(OSError):  # while the webserver restarts
                return condition()
            return None

        result = wait_until(found, timeout_seconds=timeout_seconds, poll_seconds=POLL_SECONDS)
        if not result:
            raise PipelineError(
                f"waited {timeout_seconds:g} s for {what} in vain", f"read {self._logs}"
            )
        return result

    def _wait_until_ready(self) -> None:
        self.wait_until(self._is_ready, "Dagster to be healthy", START_SECONDS)

    def wait(self, interval: DataInterval, run_id: str) -> IntervalRun:
        """Wait for a run, for its retries, and for the notification when the last one failed."""
        attempts = self.wait_until(
            lambda: self._ended_attempts(run_id),
            f"the run of {interval.label}",
            longest_run_seconds(),
        )
        if attempts[-1]["status"] == "FAILURE":
            # The daemon evaluates the failure sensor after the run has ended. Services that are
            # stopped right away would never notify.
            last = attempts[-1]["runId"]
            with suppress(PipelineError):  # the run's own failure is the one to report
                self.wait_until(
                    lambda: self.client.failure_was_handled(last),
                    "the notification",
                    NOTIFICATION_SECONDS,
                )
        return _interval_run(interval, attempts)

    def _ended_attempts(self, run_id: str) -> list[Run] | None:
        """The run and its retries, once the last has ended; None before."""
        last = self._attempts(run_id, steps=False)[-1]
        return self._attempts(run_id) if _is_over(last) else None

    def _attempts(self, run_id: str, *, steps: bool = True) -> list[Run]:
        retries = [{"key": "dagster/root_run_id", "value": run_id}]
        first = self.client.runs(runIds=[run_id], steps=steps)
        return [*first, *self.client.runs(tags=retries, steps=steps)]

    def _cancel_unfinished_runs(self) -> None:
        """Cancel the runs and backfills of services that were killed."""
        # Dagster would show them as started for good, and they would block the one slot of the
        # run queue. The caller triggers their intervals again.
        with self._instance() as instance:
            for backfill in instance.get_backfills(status=BulkActionStatus.REQUESTED):
                instance.update_backfill(backfill._replace(status=BulkActionStatus.CANCELED))
            for run in instance.get_runs(dg.RunsFilter(statuses=[*QUEUED, *ACTIVE])):
                instance.report_run_canceled(run, "The services had been killed.")

    def _restart_code_server(self) -> None:
        """Restart the code server, and let Dagster resume the runs that died with it."""
        # The daemon tries only once to retry a failed run. If it cannot load the code at that
        # moment, the run is never retried. So it is stopped before a run is reported as failed;
        # restart_exited_services starts it once the code server answers.
        self.services[DAEMON].stop()
        self.services[CODE_SERVER].restart_if_exited()
        self._report_lost_runs()

    def _report_lost_runs(self) -> None:
        """Report to Dagster the runs that died with their code server."""
        # The code server notices when a run's process dies. When it has died itself nothing does,
        # and the runs would stay started until max_runtime_seconds.
        with self._instance() as instance:
            for run in instance.get_runs(dg.RunsFilter(statuses=ACTIVE)):
                instance.report_run_failed(run, "The code server died, and the run with it.")

    def _is_ready(self) -> bool:
        return self._code_is_served() and self.client.is_healthy()

    def _code_is_served(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1)
            return client.connect_ex(str(self._code_socket)) == 0

    def _instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self._home))

    def _serve(self, name: str, program: str, *arguments: str) -> None:
        self._start_service(name, [str(Path(sys.executable).with_name(program)), *arguments])

    def _start_service(self, name: str, command: Sequence[str]) -> None:
        log = self._logs / f"{name}.log"
        self.services[name] = Service(name, command, self._environment, log)

    def _workspace(self) -> str:
        """Write the file in which daemon and webserver find the code server's address."""
        server = {"socket": str(self._code_socket), "location_name": LOCATION}
        path = self._home / "workspace.yaml"
        path.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))
        return str(path)

    def _wait_for_start(self, condition: Callable[[], bool]) -> None:
        def is_up() -> bool:
            for service in self.services.values():
                service.restart_if_killed()
            with suppress(OSError):  # while the port is not open yet
                return condition()
            return False

        if not wait_until(is_up, timeout_seconds=START_SECONDS, poll_seconds=POLL_SECONDS):
            raise PipelineError(
                f"Dagster is not healthy after {START_SECONDS:g} s", f"read {self._logs}"
            )


def dagster_environment(settings: RunSettings) -> dict[str, str]:
    """The variables that every service gets, except that of the step server."""
    return {
        **stated_environment(),
        **settings.to_environment(),
        "DAGSTER_HOME": str(settings.run.tool_home),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(HERE),  # pipeline.py imports its neighbours, wherever run.py starts
    }


def _partition(interval: DataInterval) -> str:
    """The key of the interval's daily partition.

    Raises:
        PipelineError: the interval is not a whole UTC day.
    """
    day = interval.start.date()
    if interval != DataInterval.for_day(day):
        raise PipelineError(f"{interval} is no whole UTC day", "Dagster's partitions are days")
    return day.isoformat()


def _tags(run: Run) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def _is_over(run: Run) -> bool:
    """Whether a run has ended and will not be retried."""
    if run["status"] == "FAILURE":  # Dagster sets the tag shortly after the failure
        return _tags(run).get("dagster/will_retry") == "false"
    return run["status"] in STATES


def _interval_run(interval: DataInterval, attempts: Sequence[Run]) -> IntervalRun:
    """One run and its retries as one: a retry continues where the one before it stopped."""
    steps: dict[str, StepRun] = {}
    for run in attempts:
        for stats in run["stepStats"]:
            earlier = steps.pop(stats["stepKey"], None)
            steps[stats["stepKey"]] = _step_run(stats, earlier.attempts if earlier else 0)
    last = attempts[-1]
    return IntervalRun(
        interval=str(interval),
        run_id=attempts[0]["runId"],
        state=STATES.get(last["status"], RUNNING),
        tool_state=last["status"],
        started_at=_time(attempts[0]["startTime"]),
        ended_at=_time(last["endTime"]),
        steps=tuple(sorted(steps.values(), key=_by_start)),
    )


def _step_run(stats: Mapping[str, Any], earlier_attempts: int) -> StepRun:
    status = stats["status"] or "none"
    started = [] if status == "SKIPPED" else stats["attempts"]
    open_attempts = int(status == "IN_PROGRESS")
    return StepRun(
        name=stats["stepKey"],
        state=STATES.get(status, RUNNING),
        tool_state=status,
        attempts=earlier_attempts + len(started) + open_attempts,
        started_at=_time(started[-1]["startTime"] if started else stats["startTime"]),
        ended_at=_time(stats["endTime"]),
    )


def _by_start(step: StepRun) -> tuple[bool, float]:
    return step.started_at is None, step.started_at.timestamp() if step.started_at else 0.0


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


VARIANT = Dagster

if __name__ == "__main__":
    main(VARIANT, HERE)
