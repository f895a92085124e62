"""Processes: how they end with their parent or by SIGTERM, how they are waited for, free ports."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TypeVar

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1  # prctl(2)


def exit_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl+C does: what it started is stopped first."""
    signal.signal(signal.SIGTERM, _exit)


def _exit(number: int, frame: FrameType | None) -> None:
    # A second SIGTERM must not interrupt the stopping of services half-way.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def ending_with_parent(command: Sequence[str], signal_name: str = "TERM") -> list[str]:
    """The command as Linux ends it when the thread that started it dies; elsewhere unchanged.

    Args:
        command: the program and its arguments.
        signal_name: what the kernel sends it then, without ``SIG``.
    """
    # setpriv asks the kernel after it has changed the user, which would clear the request, and
    # becomes the command, whose process id is therefore that of the process that was started.
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name, *command] if setpriv else list(command)


def be_killed_with_parent(parent: int | None = None) -> None:
    """Let the kernel kill this process when the thread that started it ends; Linux only.

    Args:
        parent: the process that started this one; by default the one that is its parent now, which
            is another one if that has ended already.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid() if parent is None else parent
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the request
        os.kill(os.getpid(), signal.SIGKILL)


def end_with_creator() -> None:
    """Kill this process when the one that created it by ``multiprocessing`` ends, however it ends.

    That is also right where a fork server started this process, or a thread that ends earlier.
    """
    creator = multiprocessing.parent_process()

    def wait_and_end() -> None:
        if creator is not None:
            creator.join()
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_and_end, daemon=True).start()


def wait_until(
    condition: Callable[[], T], *, timeout_seconds: float, poll_seconds: float = 0.1
) -> T | None:
    """Poll until the condition gives something true, and return it; None after the time-out.

    Args:
        condition: asked at least once.
        timeout_seconds: how long to go on asking.
        poll_seconds: the pause between two questions.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (found := condition()):
        if time.monotonic() >= deadline:
            return None
        time.sleep(poll_seconds)
    return found


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
