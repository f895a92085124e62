"""A client of the webserver's GraphQL API, for the queries that ``run.py`` sends."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from ecommerce_pipeline.errors import PipelineError

LOCATION, JOB, SENSOR = "pipeline", "daily", "notify_failure"
REPOSITORY = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}
USER = "admin"
PASSWORD_FILE = "password"  # noqa: S105 (its name)
PARTITION_TAG = "dagster/partition"
UNREACHABLE = "DagsterUserCodeUnreachableError"  # seen while the code server is starting
TIMEOUT_SECONDS = 30.0

HEALTH = """query {
  instance { daemonHealth { allDaemonStatuses { required healthy } } }
  workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { __typename ... on PythonError { className message } }
  } } }
}"""
LAUNCH = """mutation ($parameters: ExecutionParams!) {
  answer: launchRun(executionParams: $parameters) {
    ... on LaunchRunSuccess { run { runId } }
    ... on Error { message }
  }
}"""
BACKFILL = """mutation ($parameters: LaunchBackfillParams!) {
  answer: launchPartitionBackfill(backfillParams: $parameters) {
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}"""
BACKFILL_STATUS = """query ($id: String!) {
  answer: partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}"""
RUNS = """query ($filter: RunsFilter!, $steps: Boolean!) {
  answer: runsOrError(filter: $filter) { ... on Runs { results {
    runId status startTime endTime tags { key value }
    stepStats @include(if: $steps) { stepKey status startTime endTime attempts { startTime } }
  } } }
}"""
TICKS = """query ($sensor: SensorSelector!) {
  answer: sensorOrError(sensorSelector: $sensor) {
    ... on Sensor { sensorState { ticks(limit: 50) { originRunIds } } }
  }
}"""

Run = dict[str, Any]


def authorization(password: str) -> str:
    """The header with which a request shows the password."""
    return "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()


class Client:
    """A client of one Dagster webserver.

    Every method raises ``OSError`` while the webserver does not answer.
    """

    def __init__(self, address: str, authorization: str) -> None:
        """No request is sent yet.

        Args:
            address: the webserver's URL.
            authorization: the header that shows its password.
        """
        self._address = f"{address}/graphql"
        self._headers = {"Content-Type": "application/json", "Authorization": authorization}
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def is_healthy(self) -> bool:
        """Whether the code is loaded and every required daemon is healthy.

        Raises:
            PipelineError: the code cannot be loaded.
        """
        values = self.ask(HEALTH)
        for entry in values["workspaceOrError"]["locationEntries"]:
            loaded = entry["locationOrLoadError"] or {}
            if loaded.get("className") == UNREACHABLE:
                return False
            if "message" in loaded:
                raise PipelineError(
                    f"Dagster cannot load the pipeline: {loaded['message']}", "fix pipeline.py"
                )
            # The entry has neither location nor error until the code has been loaded.
            if entry["loadStatus"] != "LOADED" or not loaded:
                return False
        daemons = values["instance"]["daemonHealth"]["allDaemonStatuses"]
        return all(daemon["healthy"] for daemon in daemons if daemon["required"])

    def launch(self, partition: str) -> str:
        """Launch the job for one partition; the run's id.

        Raises:
            PipelineError: Dagster refuses.
        """
        parameters = {
            "selector": {**REPOSITORY, "jobName": JOB},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": PARTITION_TAG, "value": partition}]},
        }
        return str(self._change(LAUNCH, parameters)["run"]["runId"])

    def launch_backfill(self, partitions: Sequence[str]) -> str:
        """Launch a backfill of the job over the partitions; the backfill's id.

        Raises:
            PipelineError: Dagster refuses.
        """
        selector = {"repositorySelector": REPOSITORY, "partitionSetName": f"{JOB}_partition_set"}
        parameters = {"selector": selector, "partitionNames": list(partitions)}
        return str(self._change(BACKFILL, parameters)["backfillId"])

    def backfill_is_over(self, backfill: str) -> bool:
        """Whether all runs of the backfill have ended, in success or failure."""
        status = self.ask(BACKFILL_STATUS, id=backfill)["answer"]["status"]
        return status not in ("REQUESTED", "CANCELING", "FAILING")

    def runs(self, *, steps: bool = True, **wanted: object) -> list[Run]:
        """The runs of a filter such as ``runIds=[…]`` or ``tags=[…]``, the oldest first.

        Args:
            steps: whether to include the steps, for which Dagster reads the whole event log.
            wanted: the fields of Dagster's ``RunsFilter``.
        """
        values = self.ask(RUNS, filter=wanted, steps=steps)["answer"]["results"]
        return list(reversed(values))

    def failure_was_handled(self, run_id: str) -> bool:
        """Whether the failure sensor has evaluated the run."""
        answer = self.ask(TICKS, sensor={**REPOSITORY, "sensorName": SENSOR})["answer"]
        # Dagster does not know the sensor while it reloads the code.
        state = answer.get("sensorState", {"ticks": []})
        return any(run_id in tick["originRunIds"] for tick in state["ticks"])

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """Send a query and return its data.

        Raises:
            PipelineError: the query does not fit Dagster's schema.
        """
        request = urllib.request.Request(  # noqa: S310 (an address on loopback)
            self._address,
            data=json.dumps({"query": query, "variables": variables}).encode(),
            headers=self._headers,
        )
        with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
            answer = json.load(response)
        if "errors" in answer:
            raise PipelineError(
                f"Dagster refused a query: {answer['errors'][0]['message']}",
                "install the versions of requirements.lock",
            )
        values: dict[str, Any] = answer["data"]
        return values

    def _change(self, mutation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = self.ask(mutation, parameters=parameters)["answer"]
        if "message" in answer:
            raise PipelineError(f"Dagster refused: {answer['message']}", "see its page")
        return answer
