"""How Airflow's services on this machine are set up; the README says why each setting is there."""

from __future__ import annotations

import base64
import json
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
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.harness.services import Service

HERE = Path(__file__).parent
MODULES = ("settings", "failures", "dbt_hooks")  # what the forms of the pipeline import
USER = "admin"
PASSWORDS = "passwords.json"
CALLBACK_SECONDS = 60.0
IDLE_SAMPLES = 3
CONNECT_SECONDS = 5
STATEMENT_LIMIT = "-c statement_timeout=10s"
QUEUED_CALLBACKS = "SELECT count(*) FROM callback WHERE type = 'dag_processor'"


def wait_for_callbacks(database_url: str, dag_processor: Service) -> None:
    """Wait until the Dag processor has run all requested callbacks, such as notifications.

    Gives up after ``CALLBACK_SECONDS``, and at once when Dag processor or database have exited.
    """
    # The REST API does not show callbacks. So this reads their queue in the metadata database, and
    # checks for the child processes that run them. Between the queue and its process a callback is
    # in neither, so only several idle samples in a row mean that none is left.
    deadline = time.monotonic() + CALLBACK_SECONDS
    idle_samples = 0
    with (
        suppress(psutil.Error, psycopg.OperationalError),
        psycopg.connect(
            database_url, autocommit=True, connect_timeout=CONNECT_SECONDS, options=STATEMENT_LIMIT
        ) as database,
    ):
        processor = psutil.Process(dag_processor.process.pid)
        while idle_samples < IDLE_SAMPLES and time.monotonic() < deadline:
            queued = database.execute(QUEUED_CALLBACKS).fetchone()
            time.sleep(1)
            idle = queued == (0,) and not processor.children()
            idle_samples = idle_samples + 1 if idle else 0


def new_password(home: Path) -> str:
    """Create Airflow's home folder (mode 0700) with a random password for its one user."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = secrets.token_urlsafe(16)
    (home / PASSWORDS).touch(mode=0o600)  # before the password is in it
    (home / PASSWORDS).write_text(json.dumps({USER: password}))
    return password


def dags_folder(home: Path, pipeline: str) -> Path:
    """A folder with links to one Dag file, the only one that Airflow parses, and to its modules."""
    # Only one of the forms and noop.py: their Dags have the same id.
    folder = home / "dags"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in (pipeline, *MODULES):
        (folder / f"{name}.py").symlink_to(HERE / f"{name}.py")
    (folder / ".airflowignore").write_text(f"*\n!{pipeline}.py\n")
    return folder


def airflow_environment(
    settings: RunSettings, port: int, database_url: str, home: Path, dags: Path
) -> dict[str, str]:
    """The variables that every service gets: Airflow's settings, connections and variables."""
    logs = settings.run.path / "logs" / "airflow"
    address = f"http://127.0.0.1:{port}"
    # SQLAlchemy takes the driver from the scheme, and would otherwise look for psycopg2.
    database = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    options = {
        "core.dags_folder": dags,
        "core.plugins_folder": HERE / "plugins",
        "core.load_examples": False,
        "core.dags_are_paused_at_creation": False,
        "core.executor": "LocalExecutor",
        "core.parallelism": 4,  # worker processes; the default is 32
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
        # Airflow's defaults notice a dead scheduler or worker only after about five minutes.
        "scheduler.scheduler_health_check_threshold": 20,
        "scheduler.orphaned_tasks_check_interval": 10,
        "scheduler.task_instance_heartbeat_timeout": 30,
        "scheduler.task_instance_heartbeat_timeout_detection_interval": 2,
        "workers.execution_api_retries": 8,
        "workers.execution_api_retry_wait_max": 10,
        "cosmos.cache_dir": home / "cosmos",
        "logging.base_log_folder": logs / "tasks",
        "logging.dag_processor_child_process_log_directory": logs / "dag_processor",
    }
    return {
        **stated_environment(),
        "AIRFLOW_HOME": str(home),
        **{f"AIRFLOW__{key.replace('.', '__').upper()}": str(v) for key, v in options.items()},
        **pipeline_environment(settings),
    }


def pipeline_environment(settings: RunSettings) -> dict[str, str]:
    """The connections and variables that ``pipeline.py`` reads, as environment variables."""
    return {
        "AIRFLOW_CONN_SOURCE_DB": source_connection(settings.source_url),
        "AIRFLOW_CONN_SLACK": slack_connection(settings.slack_webhook_url),
        "AIRFLOW_VAR_PIPELINE_RUN_DIR": str(settings.run.path),
        "AIRFLOW_VAR_PIPELINE_MAX_STALENESS_HOURS": str(
            settings.max_staleness / timedelta(hours=1)
        ),
        "AIRFLOW_VAR_PIPELINE_LOOKBACK": str(settings.lookback),
        "AIRFLOW_VAR_PIPELINE_MAX_KEY_LOSS": str(settings.max_key_loss),
        "AIRFLOW_VAR_PIPELINE_KEY_SNAPSHOT_ROWS": str(settings.key_snapshot_rows),
    }


def source_connection(url: str) -> str:
    """The source's URL as an Airflow connection, which ``pipeline.database_url`` converts back."""
    if url.startswith("sqlite:///"):
        return json.dumps({"conn_type": "sqlite", "host": url.removeprefix("sqlite:///")})
    parts = conninfo_to_dict(url)
    fields = {"host": "host", "login": "user", "password": "password", "schema": "dbname"}
    connection = {field: parts.pop(part) for field, part in fields.items() if part in parts}
    if str(parts.get("port", "")).isdecimal():
        connection["port"] = parts.pop("port")
    return json.dumps({"conn_type": "postgres", **connection, "extra": parts})


def slack_connection(webhook_url: str | None) -> str:
    """The webhook's URL as an Airflow connection, without a password where there is no URL."""
    # Airflow masks a connection's password in logs and pages; the URL is a credential.
    secret = {"password": webhook_url} if webhook_url else {}
    return json.dumps({"conn_type": "slackwebhook", **secret})
