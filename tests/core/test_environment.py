"""The caller's environment: what of it reaches a run, and that the rest changes nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.environment import stated_environment, temporary_folder
from ecommerce_pipeline.harness import run_record
from pipeline_verification.harness.control import fill_source, run_control
from pipeline_verification.harness.environments import ROOT

# A shell that is set up for other programs of the same kinds, and for a proxy that answers nobody.
FOREIGN = {
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "DAGSTER_HOME": "/nonexistent",
    "DBT_EMPTY": "true",
    "DBT_EXCLUDE_RESOURCE_TYPES": "test",
    "DBT_TARGET": "prod",
    "LC_ALL": "C",
    "PGDATESTYLE": "German, DMY",
    "PGHOST": "db.invalid",
    "PGOPTIONS": "-c no_such_setting=1",
    "PGSSLMODE": "verify-full",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////nonexistent/prefect.db",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONPATH": "/nonexistent",
    "PYTHONSAFEPATH": "1",
    "TZ": "Pacific/Apia",
}
PROXIES = {
    "http_proxy": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
}


def test_only_stated_variables_are_passed_on() -> None:
    """What the pipeline and the machine need is passed on, what other programs read is not."""
    ours = {"PIPELINE_RUN_DIR": "/srv/run", "PATH": "/opt/bin", "PGPASSWORD": "secret"}
    stated = stated_environment({**FOREIGN, **ours})
    assert ours.items() <= stated.items()
    assert not (FOREIGN.keys() - {"LC_ALL", "PYTHONPATH", "TZ"}) & stated.keys()
    assert (stated["LC_ALL"], stated["TZ"]) == ("C.UTF-8", "UTC")
    assert stated["PYTHONPATH"] == str(ROOT / "shared")


def test_what_every_program_needs_is_always_there() -> None:
    """Without PATH and HOME, as under some service managers, a child process has both."""
    stated = stated_environment({})
    assert stated["PATH"] == os.defpath
    assert Path(stated["HOME"]).is_absolute()


@pytest.mark.parametrize(
    ("excepted", "expected"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"NO_PROXY": "corp.example"}, "corp.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_this_machine_is_excepted_from_proxies(excepted: dict[str, str], expected: str) -> None:
    """Proxies are passed on for Slack, with the exception of loopback in both spellings."""
    stated = stated_environment({**PROXIES, **excepted})
    assert PROXIES.items() <= stated.items()
    assert stated["no_proxy"] == stated["NO_PROXY"] == expected


def test_a_temporary_folder_that_is_too_long_is_replaced(tmp_path: Path) -> None:
    """Below a TMPDIR that is too long for a Unix socket, /tmp is used instead."""
    short = str(tmp_path)[:40]
    assert temporary_folder({"TMPDIR": short}) == short
    assert temporary_folder({"TMPDIR": short + "d" * 60}) == "/tmp"  # noqa: S108 (nothing is made)


def test_a_step_server_starts_below_a_long_temporary_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step server's socket fits although TMPDIR is longer than a socket's address may be."""
    long = tmp_path / ("d" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with step_server.running() as address:
        assert address.is_socket()


def test_a_foreign_environment_changes_no_run(tmp_path: Path) -> None:
    """Started in a shell of other settings, the control's command succeeds and runs every test."""
    run_dir, log = tmp_path / "run", tmp_path / "output"
    environment = {**os.environ, **FOREIGN, **PROXIES}
    del environment["HOME"]
    with log.open("wb") as output:
        code = subprocess.run(
            [
                *(sys.executable, str(ROOT / "cron_impl" / "run.py"), "--run-dir", str(run_dir)),
                *("--days", "1", "--source", "postgres"),
            ],
            env=environment,
            stdout=output,
            stderr=output,
            cwd=tmp_path,
            check=False,
        ).returncode
    assert code == 0, log.read_text()
    assert run_record.read(run_dir / "run.json")["state"] == "success"
    results = {
        path.stem: json.loads(path.read_text()) for path in run_dir.rglob("results/*/*.json")
    }
    assert len(results["staging_tests"]["results"]) > 0
    assert len(results["marts_tests"]["results"]) > 0


def test_a_pipeline_that_cron_starts_takes_no_dotenv_file(tmp_path: Path) -> None:
    """A file .env above the run's folder does not reach dbt, nor do dbt's variables."""
    run_dir = tmp_path / "run"
    shop = load_dataset("synthetic", seed=1, scale=1)
    fill_source(f"sqlite:///{run_dir / 'source.db'}", shop, "2025-01-01")
    (tmp_path / ".env").write_text("DBT_EXCLUDE_RESOURCE_TYPES=test\n")
    done = run_control(run_dir, "2025-01-01", environment={"DBT_EXCLUDE_RESOURCE_TYPES": "test"})
    assert done.returncode == 0, done.stderr
    (tests,) = run_dir.rglob("results/*/staging_tests.json")
    assert len(json.loads(tests.read_text())["results"]) > 0
