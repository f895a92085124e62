"""A private PostgreSQL server on this machine, from a package or an installed PostgreSQL."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from ecommerce_pipeline.atomic import hidden_sibling
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.postgres_programs import Account, run_as, server_programs

START_SECONDS = 60.0
STOP_SECONDS = 30.0
_USER = "pipeline"
_START_ATTEMPTS = 3
_PR_SET_PDEATHSIG = 1


@contextmanager
def running_server(data_folder: Path) -> Iterator[str]:
    """Start a server over ``data_folder``, made when missing; yield its URL; stop it at the end.

    It listens on a free port of 127.0.0.1, has no socket file, and asks for a random password
    that only the URL and a private file in ``data_folder`` hold. Started by root it runs as an
    unprivileged user; where that user cannot reach ``data_folder``, this is a link to a folder
    below the system's temporary root. On Linux the server also stops when the thread that
    entered the block dies, by SIGKILL for instance.

    Raises:
        PipelineError: no PostgreSQL programs are found, or the server does not start.
    """
    account = Account.for_server(data_folder)
    with server_programs(account) as programs:
        if not data_folder.exists():
            _create(data_folder, programs, account)
        process, url = _start(data_folder.resolve(), programs, account)
        try:
            yield url
        finally:
            _stop(process)


def _create(data_folder: Path, programs: Path, account: Account | None) -> None:
    """Initialise a hidden folder, then put it, or a link to it, in place."""
    data_folder.parent.mkdir(parents=True, exist_ok=True)
    data_folder.unlink(missing_ok=True)  # a link whose folder is gone
    fresh = hidden_sibling(data_folder)
    in_place = account is None or account.reaches(fresh)
    if in_place:
        fresh.mkdir(mode=0o700)
    else:
        fresh = Path(tempfile.mkdtemp(prefix="ecommerce-pipeline-postgres-"))
    try:
        _initialise(fresh, programs, account)
        if in_place:
            fresh.rename(data_folder)
        else:
            data_folder.symlink_to(fresh)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _initialise(folder: Path, programs: Path, account: Account | None) -> None:
    """Fill a new private folder with ``password`` and the server's ``data``."""
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_urlsafe(24))
    if account is not None:
        os.chown(password_file, account.uid, account.gid)
        os.chown(folder, account.uid, account.gid)
    command = [
        str(programs / "initdb"),
        *("--pgdata", str(folder / "data")),
        *("--username", _USER),
        *("--pwfile", str(password_file)),
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
    ]
    with (folder / "server.log").open("wb") as log:
        initdb = subprocess.Popen(command, stdout=log, stderr=log, **run_as(account))
        failed = initdb.wait() != 0
    if failed:
        raise PipelineError(
            f"initdb cannot create a database below {folder}: {_last_line(folder)}",
            "mend that, or give the URL of a running server",
        )


def _start(
    folder: Path, programs: Path, account: Account | None
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the server; try again when its port was taken in between."""
    password = _password(folder)
    for _ in range(_START_ATTEMPTS):
        port = _free_port()
        url = f"postgresql://{_USER}:{password}@127.0.0.1:{port}/postgres"
        process = _spawn(folder, programs, port, account)
        try:
            if _becomes_ready(process, url):
                return process, url
        except BaseException:
            _stop(process)
            raise
    raise PipelineError(
        f"the PostgreSQL server in {folder} does not start: {_last_line(folder)}",
        f"read {folder / 'server.log'}; remove the folder to begin with an empty database",
    )


def _spawn(
    folder: Path, programs: Path, port: int, account: Account | None
) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "logging_collector": "off",
        "max_wal_size": "4GB",  # fewer checkpoints while a data set is loaded
    }
    command = [str(programs / "postgres"), "-D", str(folder / "data")]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "server.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl+C reaches us, who then stop the server
            preexec_fn=_stop_with_parent(),  # noqa: PLW1509 (one system call, which takes no lock)
            **run_as(account),
        )


def _stop_with_parent() -> Callable[[], None] | None:
    """On Linux: what a child calls so that the kernel interrupts it when its parent dies."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _becomes_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    """Wait for the server's first answer; False when it ended instead."""
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Shut down fast, and faster still where that takes long."""
    for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        process.send_signal(signal_number)
        try:
            process.wait(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _password(folder: Path) -> str:
    try:
        return (folder / "password").read_text()
    except OSError as error:
        raise PipelineError(
            f"{folder} is not a folder that this pipeline made for PostgreSQL: {error.strerror}",
            "name another folder, or remove this one",
        ) from error


def _last_line(folder: Path) -> str:
    lines = (folder / "server.log").read_text(errors="replace").splitlines()
    return lines[-1] if lines else "it wrote nothing"
