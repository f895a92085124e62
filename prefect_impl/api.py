"""A client of the Prefect server's REST API, and its answers as records of runs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx

from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.interval_run import FAILED, RUNNING, SKIPPED, SUCCESS, IntervalRun, StepRun
from ecommerce_pipeline.specification import STEP_NAMES

POLL_SECONDS = 0.5  # each question costs the server 10 ms of processor time
BUSY_SECONDS = 60.0
SETTLE_SECONDS = 20.0
PAGE = 200  # the server's limit for one answer
STATES = {"COMPLETED": SUCCESS, "FAILED": FAILED, "CRASHED": FAILED, "CANCELLED": SKIPPED}

Json = Mapping[str, Any]


class PrefectApi:
    """A client of the server at an address such as ``http://127.0.0.1:4200``."""

    def __init__(self, address: str, auth: tuple[str, str]) -> None:
        self._client = httpx.Client(
            base_url=f"{address}/api", auth=auth, timeout=60, trust_env=False
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def is_healthy(self) -> bool:
        """Whether the server answers."""
        try:
            return bool(self._request("GET", "/health"))
        except httpx.HTTPError:  # also an error of a server that is starting
            return False

    def has_worker(self, work_pool: str) -> bool:
        """Whether a worker of the pool is online."""
        try:
            workers = self._request("POST", f"/work_pools/{work_pool}/workers/filter", {})
        except httpx.HTTPError:  # the server was just restarted, and may answer with an error
            return False
        return any(worker["status"] == "ONLINE" for worker in workers)

    def create_run(
        self, flow: str, deployment: str, parameters: Json, key: str | None = None
    ) -> str:
        """Run a deployment now; return the id of the new flow run.

        Args:
            flow: the flow's name.
            deployment: the deployment's name.
            parameters: the flow's parameters.
            key: a second request with the same key makes no second flow run; default: a new key.
        """
        found = self._request("GET", f"/deployments/name/{flow}/{deployment}")
        # The key also lets _request repeat this request without a second flow run.
        body = {"parameters": parameters, "idempotency_key": key or str(uuid4())}
        run = self._request("POST", f"/deployments/{found['id']}/create_flow_run", body)
        return str(run["id"])

    def last_run(self, flow: str, parameters: Json) -> Json | None:
        """The newest run of a flow with these parameters; None when there is none."""
        body = {"flows": {"name": {"any_": [flow]}}, "sort": "EXPECTED_START_TIME_DESC"}
        runs = self._request("POST", "/flow_runs/filter", body)
        return next((run for run in runs if run["parameters"] == parameters), None)

    def retry(self, run_id: str) -> None:
        """Resume an ended flow run where it stopped, as ``prefect flow-run retry`` does."""
        body = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
        self._request("POST", f"/flow_runs/{run_id}/set_state", body)

    def read_run(self, run_id: str) -> Json:
        """A flow run as it is now."""
        run: Json = self._request("GET", f"/flow_runs/{run_id}")
        return run

    def subflow_runs(self, run_id: str) -> list[Json]:
        """The flow runs that a flow run started, oldest first."""
        body = {"flow_runs": {"parent_flow_run_id": {"any_": [run_id]}}, "sort": "START_TIME_ASC"}
        return list(self._request("POST", "/flow_runs/filter", body))

    def interval_run(self, flow_run: Json) -> IntervalRun:
        """What the server recorded of one interval's flow run and its task runs."""
        return IntervalRun(
            interval=flow_run["parameters"]["interval"],
            run_id=flow_run["id"],
            state=STATES.get(flow_run["state_type"], RUNNING),
            tool_state=flow_run["state_name"],
            started_at=_time(flow_run["start_time"]),
            ended_at=_time(flow_run["end_time"]),
            steps=_step_runs(self._task_runs(flow_run)),
        )

    def _task_runs(self, flow_run: Json) -> list[Json]:
        """The task runs of the flow run's steps, once they have reached the server."""
        # Task runs are recorded from events, asynchronously: the last of them and their final
        # states arrive after the flow run has ended.
        expected = set(STEP_NAMES) if flow_run["state_type"] == "COMPLETED" else set()
        task_runs: list[Json] = []

        def are_complete() -> bool:
            task_runs[:] = self._step_task_runs(flow_run["id"])
            ended = all(run["state_type"] in STATES for run in task_runs)
            return ended and {_step_name(run) for run in task_runs} >= expected

        wait_until(are_complete, timeout_seconds=SETTLE_SECONDS, poll_seconds=POLL_SECONDS)
        return task_runs

    def _step_task_runs(self, flow_run_id: str) -> list[Json]:
        """The task runs that the flow started itself; dbt's nodes have a step's as parent."""
        found: list[Json] = []
        of_flow_run = {"flow_runs": {"id": {"any_": [flow_run_id]}}, "limit": PAGE}
        while True:
            body = {**of_flow_run, "offset": len(found)}
            page = self._request("POST", "/task_runs/filter", body)
            found += page
            if len(page) < PAGE:
                return [run for run in found if not run["task_inputs"].get("__parents__")]

    def _request(self, method: str, path: str, body: Json | None = None) -> Any:  # noqa: ANN401
        """Send a request, and retry it while the server's database is locked (status 503)."""
        # SQLite allows one writer, so the server often answers 503 while a flow runs. A request can
        # be repeated: the only one that creates something has an idempotency key.
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            response = self._client.request(method, path, json=body)
            busy = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
            if not busy or time.monotonic() > deadline:
                return response.raise_for_status().json()
            time.sleep(POLL_SECONDS)


def _step_runs(task_runs: Iterable[Json]) -> tuple[StepRun, ...]:
    """One step run for each step, in order of start; a resumed run has several task runs a step."""
    by_step: dict[str, list[Json]] = {}
    for task_run in sorted(task_runs, key=lambda run: str(run["start_time"])):
        by_step.setdefault(_step_name(task_run), []).append(task_run)
    return tuple(_step_run(name, runs) for name, runs in by_step.items())


def _step_name(task_run: Json) -> str:
    return str(task_run["name"].split()[0])


def _step_run(name: str, task_runs: Sequence[Json]) -> StepRun:
    """The last task run that did the work; a ``Cached`` one only found its result."""
    worked = [run for run in task_runs if run["state_name"] != "Cached"]
    last = worked[-1]
    return StepRun(
        name=name,
        state=STATES.get(last["state_type"], RUNNING),
        tool_state=last["state_name"],
        attempts=sum(run["run_count"] for run in worked),
        started_at=_time(last["start_time"]),
        ended_at=_time(last["end_time"]),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
