"""Keeping a step server up: one that ended, or that no longer answers, is replaced."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Callable
from typing import NamedTuple

from ecommerce_pipeline.errors import PipelineError

START_SECONDS = 420.0  # until it has imported dbt, and where necessary parsed the project
SILENCE_SECONDS = 30.0  # several heartbeats; a running step does not delay them
RESTARTS = 5  # in a row without one that came up


class Server(NamedTuple):
    """A server's process, and the pipe to which it writes a byte now and then."""

    process: subprocess.Popen[bytes]
    heartbeats: int


class Supervisor:
    """Watches a server in a thread, and starts another one in its place.

    The steps of a server that is replaced go on: each has a process of its own.
    """

    def __init__(self, start: Callable[[], Server], give_up: Callable[[], None]) -> None:
        """Start the first server.

        Args:
            start: starts a server, whose process leads a process group.
            give_up: called when no further server is started, so that nobody waits for one.
        """
        self._start = start
        self._give_up = give_up
        self._changing = threading.Lock()
        self._stopping = False
        self._server = start()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process of the server that is up now."""
        return self._server.process

    def watch_until_given_up(self) -> None:
        """Block as long as servers come up.

        Raises:
            PipelineError: ``RESTARTS`` + 1 of them in a row did not.
        """
        self._watcher.join()
        raise PipelineError(
            f"the step server did not come up {RESTARTS + 1} times in a row",
            "read what it printed, then start it again",
        )

    def stop(self, timeout_seconds: float) -> None:
        """Let the server end by itself; kill it after ``timeout_seconds``."""
        with self._changing:
            self._stopping = True
        process = self._server.process
        if process.stdin is not None:
            process.stdin.close()  # the lifeline
        try:
            process.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            # A server that is still importing dbt does not notice the closed lifeline. Killed, it
            # would leave the dbt process that it waits for.
            _kill(process)
        self._watcher.join()

    def _watch(self) -> None:
        failures = 0
        while failures <= RESTARTS:
            came_up = _follow(self._server)
            _kill(self._server.process)
            failures = 0 if came_up else failures + 1
            os.close(self._server.heartbeats)
            with self._changing:
                if self._stopping:
                    return
                if self._server.process.stdin is not None:
                    self._server.process.stdin.close()
                if failures <= RESTARTS:
                    self._server = self._start()
        self._give_up()


def _follow(server: Server) -> bool:
    """Read heartbeats until they stop; whether there were any."""
    came_up = False
    while select.select([server.heartbeats], [], [], SILENCE_SECONDS if came_up else START_SECONDS)[
        0
    ]:
        if not os.read(server.heartbeats, 4096):
            break  # the server has ended
        came_up = True
    return came_up


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the server with what it started, but not the steps, which lead groups of their own."""
    if process.returncode is None:  # else its id may be another process's by now
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()  # SIGKILL cannot be ignored
