"""A tool's long-running command as a process: logged, started again, and stopped as a whole."""

from __future__ import annotations

import os
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


class Service:
    """A command that is to stay up; its output goes to a log.

    It leads a session of its own: Ctrl+C does not reach it, and whatever it starts can be found
    by that session, even after it was killed. On Linux the kernel also ends it when the thread
    that started it dies.
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

    def raise_if_exited(self) -> None:
        """While it starts: do nothing.

        Raises:
            PipelineError: it has ended; the message names its log.
        """
        if self.process.poll() is not None:
            raise PipelineError(f"{self.name} ended at once", f"read {self._log}")

    def restart_if_exited(self) -> None:
        """Do what a service manager would: start it again where it has ended.

        What the ended one left behind is killed first, so that no task runs beside its retry.

        Raises:
            PipelineError: it has ended too often; the message names its log.
        """
        if self.process.poll() is None:
            return
        if self._restarts_left == 0:
            raise PipelineError(f"{self.name} ended {RESTARTS + 1} times", f"read {self._log}")
        self._restarts_left -= 1
        self._kill_session()
        self.process = self._spawn()

    def stop(self) -> None:
        """Ask it to end (SIGTERM), then kill whatever is left of it and of all it started."""
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        self._kill_session()
        self.process.wait()

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            return subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _kill_session(self) -> None:
        """Kill the session's processes; those with a process group of their own are still in it."""
        for pid in psutil.pids():
            with suppress(ProcessLookupError, PermissionError):
                if os.getsid(pid) == self.process.pid:
                    os.kill(pid, signal.SIGKILL)
