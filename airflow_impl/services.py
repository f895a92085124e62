"""How Airflow's services on this machine are set up; the README says why each setting is there."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.harness.services import Service

HERE = Path(__file__).parent
USER = "admin"
PASSWORDS = "passwords.json"
CALLBACK_SECONDS = 60.0
QUIET_LOOKS = 3
QUEUED_CALLBACKS = "SELECT count(*) FROM callback WHERE type = 'dag_processor'"


def wait_for_callbacks(database_url: str, dag_processor: Service) -> None:
    """Wait until the Dag processor has run what the scheduler asked for, notifications say.

    The REST API does not tell of callbacks, so this looks at the queue in the metadata database
    and then for the process that runs them. Between leaving the queue and starting, a callback is
    seen in neither; so nothing must be seen several times.
    """
    deadline = time.monotonic() + CALLBACK_SECONDS
    quiet = 0
    either_died = (psutil.Error, psycopg.OperationalError)  # then there is none to wait for
    with (
        suppress(*either_died),
        psycopg.connect(database_url, autocommit=True) as database,
    ):
        processor = psutil.Process(dag_processor.process.pid)
        while quiet < QUIET_LOOKS and time.monotonic() < deadline:
            queued = database.execute(QUEUED_CALLBACKS).fetchone()
            time.sleep(1)
            quiet = quiet + 1 if queued == (0,) and not processor.children() else 0


def new_password(home: Path) -> str:
    """Make Airflow's home, private, with a random password for the one user in it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(16)
    (home / PASSWORDS).touch(mode=0o600)
    (home / PASSWORDS).write_text(json.dumps({USER: password}))
    return password


def dags_folder(home: Path, pipeline: str) -> Path:
    """A folder for Airflow to parse that holds one file of ours and nothing else."""
    folder = home / "dags"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / f"{pipeline}.py").symlink_to(HERE / f"{pipeline}.py")
    return folder


def airflow_environment(
    settings: RunSettings, port: int, database_url: str, home: Path, dags: Path
) -> dict[str, str]:
    """The variables that every service gets: Airflow's settings, connections and variables."""
    logs = settings.run.path / "logs" / "airflow"
    address = f"http://127.0.0.1:{port}"
    database = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    options = {
        "core.dags_folder": dags,
        "core.plugins_folder": HERE / "plugins",
        "core.load_examples": False,
        "core.dags_are_paused_at_creation": False,
        "core.executor": "LocalExecutor",
        "core.parallelism": 4,
        "core.execution_api_server_url": f"{address}/execution/",
        "core.fernet_key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "core.simple_auth_manager_users": f"{USER}:admin",
        "core.simple_auth_manager_passwords_file": home / PASSWORDS,
        "database.sql_alchemy_conn": database,
        "database.sql_alchemy_conn_async": database,
        "api.host": "127.0.0.1",
        "api.port": port,
        "api.base_url": address,
        "api.secret_key": secrets.token_urlsafe(32),
        "api_auth.jwt_secret": secrets.token_urlsafe(64),
        "scheduler.use_job_schedule": False,  # runs are triggered here, never by the clock
        "scheduler.scheduler_idle_sleep_time": 0.2,
        "scheduler.scheduler_health_check_threshold": 20,
        "scheduler.orphaned_tasks_check_interval": 10,
        "scheduler.task_instance_heartbeat_timeout": 30,
        "scheduler.task_instance_heartbeat_timeout_detection_interval": 2,
        "logging.base_log_folder": logs / "tasks",
        "logging.dag_processor_child_process_log_directory": logs / "dag_processor",
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_")}
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)  # else each service compiles Airflow anew
    return {
        **inherited,
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{key.replace('.', '__').upper()}": str(v) for key, v in options.items()},
        **pipeline_environment(settings),
    }


def pipeline_environment(settings: RunSettings) -> dict[str, str]:
    """The connections and variables that ``pipeline.py`` reads, as Airflow takes them from here."""
    return {
        "AIRFLOW_CONN_SOURCE_DB": source_connection(settings.source_url),
        "AIRFLOW_CONN_SLACK": slack_connection(settings.slack_webhook_url),
        "AIRFLOW_VAR_PIPELINE_RUN_DIR": str(settings.run.path),
        "AIRFLOW_VAR_PIPELINE_MAX_STALENESS_HOURS": str(
            settings.max_staleness / timedelta(hours=1)
        ),
    }


def source_connection(url: str) -> str:
    """The source's URL as an Airflow connection; the pipeline's ``database_url`` is its inverse."""
    if url.startswith("sqlite:///"):
        return json.dumps({"conn_type": "sqlite", "host": url.removeprefix("sqlite:///")})
    parts = conninfo_to_dict(url)
    fields = {"host": "host", "login": "user", "password": "password", "schema": "dbname"}
    connection = {field: parts.pop(part) for field, part in fields.items() if part in parts}
    if str(parts.get("port", "")).isdecimal():
        connection["port"] = parts.pop("port")
    return json.dumps({"conn_type": "postgres", **connection, "extra": parts})


def slack_connection(webhook_url: str | None) -> str:
    """The webhook's URL, which is a secret, as an Airflow connection; none keeps it empty."""
    secret = {"password": webhook_url} if webhook_url else {}
    return json.dumps({"conn_type": "slackwebhook", **secret})
