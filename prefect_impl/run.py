"""Runs the pipeline under a real Prefect server and worker, triggered through the REST API.

python prefect_impl/run.py --days 3
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote
from uuid import uuid4

import certifi
import httpx

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves it out
from api import POLL_SECONDS, STATES, PrefectApi
from constants import (
    BACKFILL_DEPLOYMENT,
    BACKFILL_FLOW,
    MAX_ATTEMPTS,
    PIPELINE_DEPLOYMENT,
    PIPELINE_FLOW,
    WORK_POOL,
)
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.execution.processes import free_port, wait_until
from ecommerce_pipeline.harness.command_line import main
from ecommerce_pipeline.harness.services import RESTARTS, Service, new_password, run_to_end
from ecommerce_pipeline.harness.variant import NATIVE, pipeline_file, shared_step_server
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import IntervalRun
from ecommerce_pipeline.specification import longest_run_seconds

HERE = Path(__file__).parent
USER = "admin"
START_SECONDS = 300.0
DEPLOY_SECONDS = 300.0
RESUME_SECONDS = 60.0  # an automation resumes a crashed run within seconds

T = TypeVar("T")


class Prefect:
    """A server on SQLite and a process worker."""

    name = "prefect"
    packages: Sequence[str] = ("prefect",)

    def __init__(self, form: str = NATIVE) -> None:
        self.form = form
        self._pipeline = pipeline_file(HERE, form).stem
        self.services: dict[str, Service] = {}
        self._stack = ExitStack()
        self._addresses: dict[str, str] = {}

    @property
    def addresses(self) -> Mapping[str, str]:
        """The URL of the user interface by a title that says where its password is."""
        return self._addresses

    def start(self, settings: RunSettings) -> None:
        """Start step server, server and worker, deploy, and wait until the worker is online.

        Raises:
            PipelineError: a service ends or does not become healthy; its log is named.
        """
        home, self._logs = settings.run.tool_home, settings.run.path / "logs" / "prefect"
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        address = f"http://127.0.0.1:{free_port()}"
        password = new_password(home / "password")
        self._environment = {
            **prefect_environment(settings, address, f"{USER}:{password}"),
            "PREFECT_API_SSL_CERT_FILE": str(one_certificate(home / "certificate.pem")),
            **self._stack.enter_context(shared_step_server(self.form)),
        }
        self.api = PrefectApi(address, (USER, password))
        self._stack.callback(self.api.close)
        self._start_service("server")
        self._wait_for_start("server", self.api.is_healthy)
        self._deploy(settings)
        self._start_service("worker", "--pool", WORK_POOL, "--install-policy", "never")
        self._wait_for_start("worker", lambda: self.api.has_worker(WORK_POOL))
        self._addresses = {f"Prefect (user {USER}, password in {home / 'password'})": address}

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Run the deployment for the interval, and wait for the flow run's end."""
        parameters = {"interval": str(interval)}
        run_id = self._create_run(PIPELINE_FLOW, PIPELINE_DEPLOYMENT, parameters)
        self.wait(run_id)
        return self._ask(lambda: self.api.interval_run(self.api.read_run(run_id)))

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Run the backfill flow over the intervals' days, or resume one that stopped before."""
        parameters = {
            "first_day": intervals[0].start.date().isoformat(),
            "last_day": intervals[-1].start.date().isoformat(),
        }
        last = self._ask(lambda: self.api.last_run(BACKFILL_FLOW, parameters))
        if last is not None and last["state_type"] != "COMPLETED":
            run_id = str(last["id"])
            self._ask(lambda: self.api.retry(run_id))
        else:
            run_id = self._create_run(BACKFILL_FLOW, BACKFILL_DEPLOYMENT, parameters)
        self.wait(run_id, len(intervals))
        subflow_runs = self._ask(lambda: self.api.subflow_runs(run_id))
        by_interval = {run["parameters"]["interval"]: run for run in subflow_runs}
        return [self._ask(partial(self.api.interval_run, run)) for run in by_interval.values()]

    def stop(self) -> None:
        """Stop worker, server and step server, in this order."""
        # The worker reports the end of its flow runs to the server.
        for name in ("worker", "server"):
            if name in self.services:
                self.services.pop(name).stop()
        self._stack.close()

    def wait(self, run_id: str, intervals: int = 1) -> None:
        """Wait for a flow run's end, across resumed crashes; restart exited services meanwhile.

        Args:
            run_id: the flow run.
            intervals: how many intervals it runs.

        Raises:
            PipelineError: it has not ended in the time that its steps have.
        """
        crashed_at: float | None = None

        def has_ended() -> bool:
            nonlocal crashed_at
            for service in self.services.values():
                service.restart_if_exited()
            try:
                run = self.api.read_run(run_id)
                # An automation resumes a crashed run until it has started MAX_ATTEMPTS times, but
                # not a run that crashed before its first start.
                if run["state_type"] != "CRASHED" or not 0 < run["run_count"] < MAX_ATTEMPTS:
                    crashed_at = None
                    return run["state_type"] in STATES
                crashed_at = crashed_at or time.monotonic()
                # A server that was restarted may have missed the crash, or lost the automation's
                # reaction to it. Nobody else would resume the run.
                if time.monotonic() - crashed_at > RESUME_SECONDS:
                    self.api.retry(run_id)
                    crashed_at = None
            except httpx.TransportError:
                pass  # the server was just restarted
            except httpx.HTTPStatusError as error:
                if not error.response.is_server_error:
                    raise
            return False

        limit = longest_run_seconds(intervals)
        if not wait_until(has_ended, timeout_seconds=limit, poll_seconds=POLL_SECONDS):
            raise PipelineError(
                f"the flow run {run_id} has not ended after {limit:g} s", f"read {self._logs}"
            )

    def _create_run(self, flow: str, deployment: str, parameters: Mapping[str, str]) -> str:
        # One key, so that a request whose answer was lost with the server is not a second run.
        key = str(uuid4())
        return self._ask(lambda: self.api.create_run(flow, deployment, parameters, key))

    def _ask(self, request: Callable[[], T]) -> T:
        """Send a request, again once a server that has exited is up again.

        Raises:
            PipelineError: the server does not come up.
        """
        answers: list[T] = []

        def is_answered() -> bool:
            for service in self.services.values():
                service.restart_if_exited()
            try:
                answers.append(request())
            except httpx.TransportError:
                pass  # the server was just restarted
            except httpx.HTTPStatusError as error:
                if not error.response.is_server_error:
                    raise PipelineError(
                        f"prefect server refuses a request: {error}", f"read {self._logs}"
                    ) from error
            return bool(answers)

        if not wait_until(is_answered, timeout_seconds=START_SECONDS, poll_seconds=POLL_SECONDS):
            raise PipelineError(
                f"prefect server has not answered for {START_SECONDS:g} s", f"read {self._logs}"
            )
        return answers[0]

    def _start_service(self, name: str, *options: str) -> None:
        command = [sys.executable, "-m", "prefect", name, "start", *options]
        log = self._logs / f"{name}.log"
        self.services[name] = Service(f"prefect {name}", command, self._environment, log)

    def _wait_for_start(self, name: str, is_up: Callable[[], bool]) -> None:
        def is_up_or_exited() -> bool:
            up = is_up()
            if not up:
                for service in self.services.values():
                    service.restart_if_killed()
            return up

        if not wait_until(
            is_up_or_exited, timeout_seconds=START_SECONDS, poll_seconds=POLL_SECONDS
        ):
            raise PipelineError(
                f"prefect {name} is not up after {START_SECONDS:g} s",
                f"read {self._logs / name}.log",
            )

    def _deploy(self, settings: RunSettings) -> None:
        """Deploy the flows, unscheduled: the schedule would add a run of a day without data."""
        file = f"{self._pipeline}.py"
        command = [sys.executable, str(HERE / "deployment.py"), file, "--unscheduled"]
        environment = {**self._environment, **settings.to_environment()}
        log = self._logs / "deployment.log"
        name, server = "the deployment of the flows", self.services["server"]
        for _ in range(RESTARTS):
            try:
                run_to_end(name, command, environment, log, timeout_seconds=DEPLOY_SECONDS)
            except PipelineError:
                if server.process.poll() is None:
                    raise
                self._wait_for_start("server", self.api.is_healthy)  # which starts it again
            else:
                return
        raise PipelineError(f"{name} failed {RESTARTS} times", f"read {log}")


def prefect_environment(settings: RunSettings, address: str, auth: str) -> dict[str, str]:
    """The environment of server, worker and deployment; the README says why each variable is set.

    The pipeline's own settings are left out: the flow reads them from the server.
    """
    home = settings.run.tool_home
    host, port = address.removeprefix("http://").split(":")
    settings_read_there = {"PIPELINE_SLACK_WEBHOOK_URL", *settings.to_environment()}
    stated = stated_environment()
    return {
        **{name: stated[name] for name in stated.keys() - settings_read_there},
        "PREFECT_API_AUTH_STRING": auth,
        "PREFECT_API_URL": f"{address}/api",
        # Prefect's minimum; the default of 180 s is longer than the automation's SILENCE_SECONDS.
        # Only missing heartbeats reveal a flow run that died together with its worker.
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_HOME": str(home),
        "PREFECT_PROFILES_PATH": str(home / "profiles.toml"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": port,
        # Leases in memory are lost when the server is killed, and their slot stays taken.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        # How often expired leases are taken back: until then a resumed run waits for the warehouse.
        "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "5",
        # Stated, as Prefect does not escape the path of its home in the default.
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": (
            f"sqlite+aiosqlite:///{quote(str(home / 'prefect.db'))}"
        ),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }


def one_certificate(file: Path) -> Path:
    """Write the first of the certificates that Prefect would trust to a file of its own."""
    # Every client of Prefect reads the file, also for an address without TLS as here, and there
    # are two clients for each node of dbt. The whole bundle takes each of them 13 ms.
    end = "-----END CERTIFICATE-----\n"
    file.write_text(Path(certifi.where()).read_text().partition(end)[0] + end)
    return file


VARIANT = Prefect

if __name__ == "__main__":
    main(VARIANT, HERE)
