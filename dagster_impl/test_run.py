"""The services that run.py starts, their environment, and what of the graph their API shows."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from conftest import Form
from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.run_directory import RunDirectory
from run import Dagster, dagster_environment


def test_the_graph_that_the_api_shows_is_the_pipeline(services: Dagster, form: Form) -> None:
    """The webserver shows every asset of the definitions, each with its parents."""
    query = "{ assetNodes { assetKey { path } dependencyKeys { path } } }"
    shown = {
        "/".join(node["assetKey"]["path"]): {
            "/".join(key["path"]) for key in node["dependencyKeys"]
        }
        for node in services.client.ask(query)["assetNodes"]
    }
    assert shown == form.assets


def test_the_services_listen_on_loopback_alone(services: Dagster) -> None:
    """No service or anything that it started can be reached from another machine."""
    listening = {
        connection.laddr.ip
        for process in psutil.Process().children(recursive=True)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}


def test_another_dagster_of_the_caller_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Dagster or dbt setting of the caller reaches the services, such as its own instance."""
    theirs = {"DAGSTER_WEBSERVER_PORT": "1", "DAGSTER_CURRENT_IMAGE": "x", "DBT_TARGET": "prod"}
    for name, value in {**theirs, "DAGSTER_HOME": "/nonexistent"}.items():
        monkeypatch.setenv(name, value)
    environment = dagster_environment(RunSettings(RunDirectory(tmp_path), "sqlite:////shop.db"))
    assert not theirs.keys() & environment.keys()
    assert environment["DAGSTER_HOME"] == str(tmp_path / "tool")
    assert "127.0.0.1" in environment["no_proxy"].split(",")


def test_a_path_that_dagster_would_unescape_is_refused(tmp_path: Path) -> None:
    """A %-escape in the path, which Dagster cannot open, is refused before anything starts."""
    run = RunDirectory(tmp_path / "a%20b")
    with pytest.raises(PipelineError, match="Dagster would take %20 in the run's folder"):
        Dagster().start(RunSettings(run, f"sqlite:///{run.source_file}"))
    assert list(tmp_path.iterdir()) == []
