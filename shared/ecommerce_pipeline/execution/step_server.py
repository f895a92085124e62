"""A warm process that runs each step in a forked child of its own.

dbt takes seconds to import; the server imports it once and every step starts from there. The
child belongs to the connection that asked for it: when the client goes away, by time-out or by
SIGKILL, the child kills its own process group, so that no writer outlives the task it served.

Start it with ``running()``, or with ``serving()`` at a given address, as the command
``ecommerce-pipeline serve-steps`` does; ``step_client.run_step`` is the client.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment, temporary_folder
from ecommerce_pipeline.execution.messages import receive, send
from ecommerce_pipeline.files.permissions import PRIVATE_FILE, PRIVATE_UMASK
from ecommerce_pipeline.specification import STEP_NAMES

ENVIRONMENT_VARIABLE = "PIPELINE_STEP_SERVER"
_OWN_FOLDER = "step-server-"
STOP_SECONDS = 10.0


@contextmanager
def running() -> Iterator[Path]:
    """Start a server and yield its socket's path; it ends with the block or with this process.

    The socket lies in a folder that only this user can enter.
    """
    # Whoever connects runs steps with this user's rights. A folder of mode 0700 keeps others out on
    # every system; a socket's own mode is not checked on all of them.
    with tempfile.TemporaryDirectory(
        prefix=_OWN_FOLDER, dir=temporary_folder(), ignore_cleanup_errors=True
    ) as folder:
        address = Path(folder) / "socket"
        with _served(address):
            yield address


@contextmanager
def serving(address: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server at a socket to which only this user can connect; it ends with the block.

    What an earlier server left at ``address`` is replaced.

    Raises:
        PipelineError: a server listens there, or there can be no socket.
    """
    if address.is_socket() and not _is_served(address):
        address.unlink()
    with _served(address) as process:
        yield process


@contextmanager
def _served(address: Path) -> Iterator[subprocess.Popen[bytes]]:
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(address))
            address.chmod(0o600)  # before anybody can connect
        except OSError as error:
            raise PipelineError(
                f"there can be no step server at {address}: {error.strerror or error}",
                "stop the one that is there, or name a short path in a folder that exists",
            ) from None
        listener.listen(64)  # here, so that clients may connect while the server still imports dbt
        process = _start(listener)
    try:
        yield process
    finally:
        _stop(process, address)


def _is_served(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(address)) == 0


def _start(listener: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", __name__, str(listener.fileno())],
        stdin=subprocess.PIPE,  # the lifeline: the kernel closes it when the owner ends
        pass_fds=[listener.fileno()],
        start_new_session=True,  # Ctrl+C in the terminal reaches only the owner
        env=stated_environment(),
        umask=PRIVATE_UMASK,
    )


def _stop(process: subprocess.Popen[bytes], address: Path) -> None:
    """Let the server end by itself; kill it where that takes long."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # A server that is still importing dbt does not notice the closed lifeline. Killed, it
        # can remove nothing, and would leave the dbt process that it waits for.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        _remove(address)


def serve(listener: socket.socket, lifeline: int) -> None:
    """Fork a child for each connection until the lifeline closes, then remove the socket."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner stops the server
    _preload()  # before the handler of SIGCHLD, which would reap the dbt process that it waits for
    # Handled, not ignored: the kernel reaps the children of a process that ignores SIGCHLD, and
    # does not add their CPU time to that of their parent, from which benchmarks read it.
    signal.signal(signal.SIGCHLD, _reap)
    awaited: list[socket.socket | int] = [listener, lifeline]
    while True:
        ready, _, _ = select.select(awaited, [], [])
        if lifeline in ready:
            _remove(Path(listener.getsockname()))
            return
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _be_child(connection)
        connection.close()


def _reap(number: int, frame: FrameType | None) -> None:
    # Signals are not counted: one may report several children.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _preload() -> None:
    """Import what steps need, while the first client may already be waiting."""
    import pandas  # noqa: F401 (pyarrow looks for it when it makes its first array)

    from ecommerce_pipeline import steps
    from ecommerce_pipeline.dbt_runner import runner
    from ecommerce_pipeline.source import sqlite  # noqa: F401 (imported by URL, in the step)

    for name in STEP_NAMES:
        steps.resolve(name)
    runner.preload()


def _be_child(connection: socket.socket) -> None:
    """Run the one step that the connection asks for, reply, and exit."""
    os.setsid()  # a process group of its own, so that it is killed with all that it started
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    stream = connection.makefile("rwb")
    # First of all: the client needs the process id to kill this child at any moment of the step.
    send(stream, {"pid": os.getpid()})
    request = receive(stream)
    if request is not None:
        threading.Thread(target=_die_with_client, args=[connection], daemon=True).start()
        _send_output_to(Path(request["log"]))
        with contextlib.suppress(BrokenPipeError):
            send(stream, _run(request))
    sys.stdout.flush()
    os._exit(0)  # sys.exit would run the exit handlers, which are the server's


def _die_with_client(connection: socket.socket) -> None:
    """Kill this process group once the client's end is closed."""
    with contextlib.suppress(OSError):
        connection.recv(1)  # the client sends nothing after its request, so this returns at its end
    os.killpg(0, signal.SIGKILL)


def _send_output_to(log: Path) -> None:
    """Let everything that the step or a library prints go to the step's log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _run(request: dict[str, Any]) -> dict[str, Any]:
    from ecommerce_pipeline import steps

    os.environ.update(request["environment"])
    try:
        run = steps.resolve(request["step"])
        return run(StepContext.from_json(request["context"])).to_json()
    except PipelineError as error:
        return {"error": error.to_json()}
    except Exception as error:
        traceback.print_exc()
        unexpected = PipelineError(
            f"{request['step']} failed unexpectedly: {type(error).__name__}: {error}",
            f"read the traceback in {request['log']}",
            retryable=True,
        )
        return {"error": unexpected.to_json()}


def _remove(address: Path) -> None:
    """Remove the socket, and the folder that was made for it alone."""
    with contextlib.suppress(OSError):
        address.unlink()
        if address.parent.name.startswith(_OWN_FOLDER):
            address.parent.rmdir()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.stdin.fileno())
    os._exit(0)  # Python's own shutdown frees every imported module while the owner waits
