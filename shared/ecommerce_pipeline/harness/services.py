"""A tool's long-running command: started, logged, restarted, and stopped with its children."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import ending_with_parent

STOP_SECONDS = 10.0
RESTARTS = 5


def run_to_end(
    name: str,
    command: Sequence[str],
    environment: Mapping[str, str],
    log: Path,
    *,
    timeout_seconds: float,
) -> None:
    """Run a command that prepares a service; again where a signal has ended it.

    Args:
        name: what it does, such as ``the migration of the database``.
        command: the program and its arguments; it may run twice.
        environment: all its variables.
        log: its output is appended here.
        timeout_seconds: how long it may take.

    Raises:
        PipelineError: it failed, or took too long; the hint names its log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    for _ in range(1 + RESTARTS):
        with log.open("ab") as output:
            try:
                status = subprocess.run(
                    ending_with_parent(command),
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=log.parent,  # as for a service, below
                    check=False,
                    timeout=timeout_seconds,
                ).returncode
            except subprocess.TimeoutExpired:
                raise PipelineError(
                    f"{name} did not end within {timeout_seconds:g} s", f"read {log}"
                ) from None
        if status == 0:
            return
        if status > 0:
            break
    raise PipelineError(f"{name} failed", f"read {log}")


class Service:
    """A command that must stay up; its output is appended to a log.

    It leads a session of its own. Ctrl+C does not reach it, and all processes that it starts can
    be found by the session, even after it was killed. On Linux the kernel also terminates it when
    the thread that started it ends.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self._command = ending_with_parent(command)
        self._environment = dict(environment)
        self._log = log
        self._restarts_left = RESTARTS
        self.process = self._spawn()

    def restart_if_killed(self) -> None:
        """Start it again when a signal has ended it; for the time in which it starts.

        Raises:
            PipelineError: it has exited by itself, or was killed ``RESTARTS`` + 1 times; the hint
                names its log.
        """
        status = self.process.poll()
        if status is not None and status >= 0:  # it would do the same again
            raise PipelineError(f"{self.name} ended at once", f"read {self._log}")
        self.restart_if_exited()

    def restart_if_exited(self) -> None:
        """Start it again when it has exited, as a service manager would.

        Raises:
            PipelineError: it has exited ``RESTARTS`` + 1 times; the hint names its log.
        """
        if self.process.poll() is None:
            return
        if self._restarts_left == 0:
            raise PipelineError(f"{self.name} ended {RESTARTS + 1} times", f"read {self._log}")
        self._restarts_left -= 1
        # A task of the dead service may still run, and must not run beside its own retry.
        self._kill_session()
        self.process = self._spawn()

    def stop(self) -> None:
        """Send SIGTERM, wait ``STOP_SECONDS``, then kill what is left of its session."""
        # SIGTERM lets the tool write its state and release its locks. It is sent to the service
        # alone: the tool stops its children in its own order. What ignores SIGTERM, or was
        # started in a process group of its own, would outlive the service and write into the next
        # run; the kill of the whole session reaches that, too.
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self._kill_session()
        self.process.wait()  # SIGKILL cannot be ignored

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                # Tools also read settings from files of the working directory, such as .env.
                cwd=self._log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _kill_session(self) -> None:
        """Kill every process of the session, whatever its process group and parent."""
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)


def new_password(file: Path) -> str:
    """A random password, also written to a private file for the users of the web pages."""
    password = secrets.token_urlsafe(16)
    file.touch(mode=0o600)  # before the password is in it
    file.write_text(password)
    return password
