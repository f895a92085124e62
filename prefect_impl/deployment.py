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
HEARTBEAT = "prefect.flow-run.heartbeat"
SCHEDULED = "prefect.flow-run.AwaitingRetry"
PENDING = "prefect.flow-run.Pending"
RUNNING = "prefect.flow-run.Running"
CRASHED = "prefect.flow-run.Crashed"
ENDS = [CRASHED, *(f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled"))]
SCHEDULE_AGAIN = {"state": "SCHEDULED", "name": "AwaitingRetry"}
PENDING_SECONDS = 60  # a flow run starts within seconds of being claimed by the worker
CRASH_SECONDS = 10  # Prefect's shortest
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
    _change_when_missing(
        name="crash-silent-runs",
        description="A run whose heartbeats stopped has lost its process and its worker.",
        after=HEARTBEAT,
        expect=[HEARTBEAT, *ENDS],
        within=SILENCE_SECONDS,
        change={"state": "CRASHED", "message": "No heartbeats"},
    )
    # A worker that dies between the claim and the start leaves the run Pending for ever.
    _change_when_missing(
        name="schedule-pending-runs-again",
        description="A run that did not start after a worker had claimed it has lost that worker.",
        after=PENDING,
        expect=[RUNNING, *ENDS],
        within=PENDING_SECONDS,
        change=SCHEDULE_AGAIN,
    )
    # Not at once: the worker reports a crash twice, the second time after the hooks. Of a run that
    # was scheduled in between, two processes would start.
    _change_when_missing(
        name="resume-crashed-runs",
        description=f"A crashed run resumes where it stopped, at most {MAX_ATTEMPTS - 1} times.",
        after=CRASHED,
        expect=[SCHEDULED, PENDING, RUNNING],
        within=CRASH_SECONDS,
        change=SCHEDULE_AGAIN,
        match={"prefect.run-count": [str(count) for count in range(1, MAX_ATTEMPTS)]},
    )


def _change_when_missing(
    *,
    name: str,
    description: str,
    after: str,
    expect: list[str],
    within: int,
    change: dict[str, str],
    match: dict[str, list[str]] | None = None,
) -> None:
    """Change the state of a deployed run when no expected event follows another in time.

    An automation of the same name is replaced.
    """
    automation = {
        "name": name,
        "description": description,
        "trigger": {
            "type": "event",
            "posture": "Proactive",
            "match": match or {},
            "match_related": {"prefect.resource.role": "deployment"},
            "for_each": ["prefect.resource.id"],
            "after": [after],
            "expect": expect,
            "within": within,
        },
        "actions": [{"type": "change-flow-run-state", **change}],
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
