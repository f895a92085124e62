"""Runs a private PostgreSQL server, from a package or an installed PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import ending_with_parent, free_port, wait_until
from ecommerce_pipeline.files.atomic import hidden_sibling
from ecommerce_pipeline.harness.postgres_programs import Account, run_as, server_programs

START_SECONDS = 60.0
STOP_SECONDS = 30.0
_USER = "pipeline"
_START_ATTEMPTS = 3
_TEMPORARY_PREFIX = "ecommerce-pipeline-postgres-"


@contextmanager
def running_server(data_folder: Path, *, durable: bool = True) -> Iterator[str]:
    """Run a server with its data in ``data_folder`` for the block; yield its URL.

    It listens on a free port of 127.0.0.1, has no socket file, and requires a random password,
    which is in the URL and in a private file in ``data_folder``. Started by root, it runs as an
    unprivileged user. Where that user cannot reach ``data_folder``, ``data_folder`` becomes a link
    to a folder in the system's temporary folder; a later such start removes the folder once the
    link is gone. On Linux the server also stops when the thread that entered the block ends, for
    example by SIGKILL.

    Args:
        data_folder: holds the data, the password and the server's log; created when missing.
        durable: False runs without fsync, for data that need not survive a power failure.

    Raises:
        PipelineError: no PostgreSQL programs are found, or the server does not start.
    """
    account = Account.for_server(data_folder)
    with server_programs(account) as programs:
        settings = _ServerSettings(programs, account, durable)
        if not data_folder.exists():
            _create(data_folder, settings)
        process, url = _start(data_folder.resolve(), settings)
        try:
            yield url
        finally:
            _stop(process)


@dataclass(frozen=True, slots=True)
class _ServerSettings:
    """The programs, the account that runs them, and whether they use fsync."""

    programs: Path
    account: Account | None
    durable: bool


def _create(data_folder: Path, settings: _ServerSettings) -> None:
    """Initialise a hidden folder, then rename it to its place, or link to it."""
    data_folder.parent.mkdir(parents=True, exist_ok=True)
    data_folder.unlink(missing_ok=True)  # a link whose folder is gone
    fresh = hidden_sibling(data_folder)
    in_place = settings.account is None or settings.account.reaches(fresh)
    if in_place:
        fresh.mkdir(mode=0o700)
    else:
        _remove_unlinked()
        fresh = Path(tempfile.mkdtemp(prefix=_TEMPORARY_PREFIX))
    try:
        _initialise(fresh, settings)
        if in_place:
            fresh.rename(data_folder)
        else:
            data_folder.symlink_to(fresh)
            (fresh / "link").write_text(str(data_folder.absolute()))
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _remove_unlinked() -> None:
    """Remove the temporary folders whose link is gone, as its run folder was removed."""
    for link in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY_PREFIX}*/link"):
        with contextlib.suppress(OSError):  # another process may remove it at the same time
            if Path(link.read_text()).resolve() != link.parent.resolve():
                shutil.rmtree(link.parent)


def _initialise(folder: Path, settings: _ServerSettings) -> None:
    """Fill a new private folder with ``password`` and the server's ``data``."""
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(24))
    if settings.account is not None:
        os.chown(password_file, settings.account.uid, settings.account.gid)
        os.chown(folder, settings.account.uid, settings.account.gid)
    command = [
        str(settings.programs / "initdb"),
        *("--pgdata", str(folder / "data")),
        *("--username", _USER),
        *("--pwfile", str(password_file)),
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        *(() if settings.durable else ("--no-sync",)),
    ]
    with (folder / "server.log").open("wb") as log:
        initdb = subprocess.Popen(command, stdout=log, stderr=log, **run_as(settings.account))
        try:
            failed = initdb.wait(timeout=START_SECONDS) != 0
        except subprocess.TimeoutExpired:
            initdb.kill()
            failed = initdb.wait() != 0
    if failed:
        raise PipelineError(
            f"initdb cannot create a database below {folder}: {_reason(folder)}",
            "fix that, or give the URL of a running server",
        )


def _start(folder: Path, settings: _ServerSettings) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server; try again when another process has taken the port in between."""
    password = _password(folder)
    for _ in range(_START_ATTEMPTS):
        port = free_port()
        url = f"postgresql://{_USER}:{password}@127.0.0.1:{port}/postgres"
        process = _spawn(folder, port, settings)
        ready = False
        try:
            ready = _becomes_ready(process, url)
        finally:
            if not ready:
                _stop(process)
        if ready:
            return process, url
    raise PipelineError(
        f"the PostgreSQL server in {folder} does not start: {_reason(folder)}",
        f"read {folder / 'server.log'}; remove the folder to begin with an empty database",
    )


def _spawn(folder: Path, port: int, settings: _ServerSettings) -> subprocess.Popen[bytes]:
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "logging_collector": "off",
        "fsync": "on" if settings.durable else "off",
        "max_wal_size": "4GB",  # fewer checkpoints while a data set is loaded
    }
    command = [str(settings.programs / "postgres"), "-D", str(folder / "data")]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            ending_with_parent(command, "INT"),  # SIGINT asks PostgreSQL for a fast shutdown
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl+C reaches this process, which stops the server
            **run_as(settings.account),
        )


def _becomes_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait for the server's first answer; False when it exited or did not answer in time."""

    def is_decided() -> str | None:
        return "ended" if process.poll() is not None else "ready" if _answers(url) else None

    return wait_until(is_decided, timeout_seconds=START_SECONDS, poll_seconds=0.02) == "ready"


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2, sslmode="disable", options="").close()
    except psycopg.OperationalError:
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Shut down; escalate after ``STOP_SECONDS``."""
    # PostgreSQL: SIGINT disconnects clients and writes a checkpoint; SIGQUIT exits at once, and the
    # next start recovers from the log.
    for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(signal_number)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def _password(folder: Path) -> str:
    try:
        return (folder / "password").read_text()
    except OSError as error:
        raise PipelineError(
            f"{folder} is not a folder that this pipeline made for PostgreSQL: {error.strerror}",
            "name another folder, or remove this one",
        ) from error


def _reason(folder: Path) -> str:
    """The log's last fatal line, or else its last line."""
    lines = (folder / "server.log").read_text(errors="replace").splitlines()
    fatal = [line for line in lines if "FATAL" in line]
    return (fatal or lines or ["it wrote nothing"])[-1]
