"""Deploys the pipeline to a Prefect server: settings, limits, deployments, automations.

    PIPELINE_RUN_DIR=/srv/shop PREFECT_API_URL=http://127.0.0.1:4200/api \\
        python prefect_impl/deployment.py

Existing objects are replaced, so deploying again is safe.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

from prefect import Flow
from prefect.automations import Automation
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.schedules import Cron, Schedule
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

from constants import (
    BACKFILL_DEPLOYMENT,
    MAX_ATTEMPTS,
    PIPELINE_DEPLOYMENT,
    SECRETS_BLOCK,
    SETTINGS_VARIABLE,
    WAREHOUSE,
    WORK_POOL,
)

SETTINGS = (
    "PIPELINE_RUN_DIR",
    "PIPELINE_MAX_STALENESS_HOURS",
    "PIPELINE_LOOKBACK",
    "PIPELINE_MAX_KEY_LOSS",
    "PIPELINE_KEY_SNAPSHOT_ROWS",
)
SECRETS = ("PIPELINE_SOURCE_URL", "PIPELINE_SLACK_WEBHOOK_URL")
HERE = Path(__file__).parent
DEPLOYED_RUNS = {"prefect.resource.role": "deployment"}
HEARTBEAT = "prefect.flow-run.heartbeat"
ENDS = [f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Crashed", "Cancelled")]
SCHEDULE_AGAIN = {"state": "SCHEDULED", "name": "AwaitingRetry"}
PENDING_SECONDS = 60  # a flow run starts within seconds of being claimed by the worker
SILENCE_SECONDS = 90  # three of Prefect's shortest heartbeats; one may be late on a busy machine


def deploy(file: str = "pipeline.py", *, scheduled: bool = True) -> None:
    """Create everything that the pipeline needs on the server of ``PREFECT_API_URL``.

    Args:
        file: where the flows are, in this folder.
        scheduled: whether the schedule at 06:00 UTC is active.
    """
    _save_settings()
    _make_limits()
    _make_automations()
    daily = Cron("0 6 * * *", timezone="UTC", active=scheduled)
    _deploy(f"{file}:pipeline", PIPELINE_DEPLOYMENT, daily)
    _deploy(f"{file}:backfill", BACKFILL_DEPLOYMENT)


def _save_settings() -> None:
    """Store the environment's settings on the server; credentials are encrypted there."""
    settings = {key: os.environ[key] for key in SETTINGS if key in os.environ}
    secrets: Any = {key: os.environ[key] for key in SECRETS if key in os.environ}
    Variable.set(SETTINGS_VARIABLE, settings, overwrite=True)
    Secret(value=secrets).save(SECRETS_BLOCK, overwrite=True)


def _make_limits() -> None:
    """Allow one flow run at a time, and one that has the warehouse open."""
    pool = WorkPoolCreate(
        name=WORK_POOL,
        type=ProcessWorker.type,
        base_job_template=ProcessWorker.get_default_base_job_template(),
        concurrency_limit=1,
    )
    with get_client(sync_client=True) as client:
        client.create_work_pool(pool, overwrite=True)
        client.upsert_global_concurrency_limit_by_name(WAREHOUSE, limit=1)


def _make_automations() -> None:
    """Mark a flow run without heartbeats as crashed, and resume a crashed one, up to a limit.

    A run that the worker has claimed and not started is scheduled again.
    """
    # A worker reports the death of its flow run. When the worker died as well, only the missing
    # heartbeats show it; Prefect itself would leave the run Running for ever.
    _when_missing(
        name="crash-silent-runs",
        description="A run whose heartbeats stopped has lost its process and its worker.",
        after=HEARTBEAT,
        expect=[HEARTBEAT, *ENDS],
        within=SILENCE_SECONDS,
        then={"state": "CRASHED", "message": "No heartbeats"},
    )
    # A worker that dies between the claim and the start leaves the run Pending for ever.
    _when_missing(
        name="schedule-pending-runs-again",
        description="A run that did not start after a worker had claimed it has lost that worker.",
        after="prefect.flow-run.Pending",
        expect=["prefect.flow-run.Running", *ENDS],
        within=PENDING_SECONDS,
        then=SCHEDULE_AGAIN,
    )
    _replace(
        name="resume-crashed-runs",
        description=f"A crashed run resumes where it stopped, at most {MAX_ATTEMPTS - 1} times.",
        trigger={
            "posture": "Reactive",
            "match": {"prefect.run-count": [str(count) for count in range(1, MAX_ATTEMPTS)]},
            "expect": ["prefect.flow-run.Crashed"],
        },
        then=SCHEDULE_AGAIN,
    )


def _when_missing(
    *, name: str, description: str, after: str, expect: list[str], within: int, then: dict[str, str]
) -> None:
    """Change the state of a run when no expected event follows another one in so many seconds."""
    trigger = {"posture": "Proactive", "after": [after], "expect": expect, "within": within}
    _replace(name, description, trigger, then)


def _replace(name: str, description: str, trigger: dict[str, Any], then: dict[str, str]) -> None:
    """Replace an automation that changes the state of deployed runs, each by its own events."""
    automation = {
        "name": name,
        "description": description,
        "trigger": {
            "type": "event",
            "match_related": DEPLOYED_RUNS,
            "for_each": ["prefect.resource.id"],
            **trigger,
        },
        "actions": [{"type": "change-flow-run-state", **then}],
    }
    with get_client(sync_client=True) as client:
        for existing in client.read_automations_by_name(name):
            client.delete_automation(existing.id)
    Automation.model_validate(automation).create()


def _deploy(entrypoint: str, name: str, schedule: Schedule | None = None) -> None:
    """Deploy a flow; each of its runs is one process that starts in this folder."""
    source = Flow.from_source(source=HERE, entrypoint=entrypoint)
    cast("Flow[..., Any]", source).deploy(
        name=name,
        work_pool_name=WORK_POOL,
        tags=["ecommerce", name],
        schedules=[schedule] if schedule else [],
        # With the command named, the worker starts it directly instead of through a second Python.
        job_variables={"command": f"{sys.executable} -m prefect.engine", "working_dir": str(HERE)},
        print_next_steps=False,
    )


if __name__ == "__main__":
    files = [argument for argument in sys.argv[1:] if argument.endswith(".py")]
    deploy(*files, scheduled="--unscheduled" not in sys.argv)
