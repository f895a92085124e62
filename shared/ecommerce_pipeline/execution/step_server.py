"""A warm process that runs each step in a forked child of its own.

dbt takes seconds to import; the server imports it once and every step starts from there. The
child belongs to the connection that asked for it: when the client goes away, by time-out or by
SIGKILL, the child kills its own process group, so that no writer outlives the task it served.

Start it with ``running()``, or with ``serving()`` at a given address, as the command
``ecommerce-pipeline serve-steps`` does; ``step_client.run_step`` is the client.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment, temporary_folder
from ecommerce_pipeline.execution.messages import receive, send
from ecommerce_pipeline.execution.supervisor import Server, Supervisor
from ecommerce_pipeline.files.log import open_log
from ecommerce_pipeline.files.permissions import PRIVATE_UMASK
from ecommerce_pipeline.files.temporary import locked_folder
from ecommerce_pipeline.specification import STEP_NAMES

if TYPE_CHECKING:
    from typing_extensions import Buffer

ENVIRONMENT_VARIABLE = "PIPELINE_STEP_SERVER"
_OWN_FOLDER = "pipeline-steps-"  # of its own: an older version does not lock its "step-server-"
STOP_SECONDS = 10.0
HEARTBEAT_SECONDS = 5.0


@contextmanager
def running() -> Iterator[Path]:
    """Keep a server up and yield its socket's path; it ends with the block or with this process.

    The socket lies in a folder that only this user can enter.

    Raises:
        PipelineError: there can be no socket.
    """
    # Whoever connects runs steps with this user's rights. A folder of mode 0700 keeps others out on
    # every system; a socket's own mode is not checked on all of them.
    with locked_folder(_OWN_FOLDER, temporary_folder()) as folder, _served(folder / "socket"):
        yield folder / "socket"


@contextmanager
def serving(address: Path) -> Iterator[Supervisor]:
    """Keep a server up at a socket to which only this user can connect; it ends with the block.

    What an earlier server left at ``address`` is replaced.

    Raises:
        PipelineError: a server listens there, or there can be no socket.
    """
    if address.is_socket() and not _is_served(address):
        address.unlink()
    with _served(address) as supervisor:
        yield supervisor


@contextmanager
def _served(address: Path) -> Iterator[Supervisor]:
    # The listener stays open here, so that clients of a server that was replaced may connect, and
    # wait, while the new one imports dbt.
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(address))
            address.chmod(0o600)  # before anybody can connect
        except OSError as error:
            raise PipelineError(
                f"there can be no step server at {address}: {error.strerror or error}",
                "stop the one that is there, or name a short path in a folder that exists",
            ) from None
        try:
            listener.listen(64)
            environment = stated_environment()  # also of a server that takes the first one's place
            supervisor = Supervisor(lambda: _start(listener, environment), give_up=listener.close)
            try:
                yield supervisor
            finally:
                supervisor.stop(STOP_SECONDS)
        finally:
            address.unlink(missing_ok=True)


def _is_served(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)  # where nobody accepts, a full queue would block
        return client.connect_ex(str(address)) != errno.ECONNREFUSED


def _start(listener: socket.socket, environment: Mapping[str, str]) -> Server:
    heartbeats, heart = os.pipe()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(listener.fileno()), str(heart)],
            stdin=subprocess.PIPE,  # the lifeline: the kernel closes it when the owner ends
            pass_fds=[listener.fileno(), heart],
            start_new_session=True,  # Ctrl+C in the terminal reaches only the owner
            env=environment,
            umask=PRIVATE_UMASK,
        )
    finally:
        os.close(heart)
    return Server(process, heartbeats)


def serve(listener: socket.socket, lifeline: int, heart: int) -> None:
    """Fork a child for each connection until the lifeline closes, then remove the socket.

    Args:
        listener: the socket that clients connect to.
        lifeline: a pipe that closes when the server's owner ends.
        heart: a pipe to the owner; a byte in it says that connections are accepted.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the owner stops the server
    os.set_blocking(heart, False)  # an owner that is suspended reads nothing
    _preload()  # before the handler of SIGCHLD, which would reap the dbt process that it waits for
    # Handled, not ignored: the kernel reaps the children of a process that ignores SIGCHLD, and
    # does not add their CPU time to that of their parent, from which benchmarks read it.
    signal.signal(signal.SIGCHLD, _reap)
    awaited: list[socket.socket | int] = [listener, lifeline]
    while True:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(heart, b".")
        ready, _, _ = select.select(awaited, [], [], HEARTBEAT_SECONDS)
        if lifeline in ready:
            _remove(Path(listener.getsockname()))
            return
        if listener in ready:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                os.close(heart)  # open in a step, it would hide the server's end from the owner
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
        reply = _reply(request)
        with contextlib.suppress(BrokenPipeError):
            send(stream, reply)
    os._exit(0)  # sys.exit would run the exit handlers, which are the server's


def _die_with_client(connection: socket.socket) -> None:
    """Kill this process group once the client's end is closed."""
    with contextlib.suppress(OSError):
        connection.recv(1)  # the client sends nothing after its request, so this returns at its end
    os.killpg(0, signal.SIGKILL)


def _reply(request: dict[str, Any]) -> dict[str, Any]:
    """The step's result or error; whatever happens, the client gets one."""
    from ecommerce_pipeline import steps

    os.environ.update(request["environment"])
    try:
        context = StepContext.from_json(request["context"])
        _send_output_to(Path(request["log"]))
        with steps.in_folder(request["step"], context):
            return steps.resolve(request["step"])(context).to_json()
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
    finally:
        sys.stdout.flush()


def _send_output_to(log: Path) -> None:
    """Let everything that the step or a library prints go to the step's log.

    Raises:
        PipelineError: the log cannot be opened.
    """
    with open_log(log) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.stdout, sys.stderr = (_output(number) for number in (1, 2))


def _output(descriptor: int) -> TextIO:
    return io.TextIOWrapper(
        io.BufferedWriter(_LossyFile(descriptor, "wb", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


class _LossyFile(io.FileIO):
    """A log that loses lines where the disk is full: the step's result matters more."""

    def write(self, data: Buffer, /) -> int:
        """Write what can be written; report all of it as written."""
        size = memoryview(data).nbytes
        with contextlib.suppress(OSError):
            super().write(data)
        return size


def _remove(address: Path) -> None:
    """Remove the socket, and the folder that was made for it alone."""
    with contextlib.suppress(OSError):
        address.unlink()
        if address.parent.name.startswith(_OWN_FOLDER):
            address.parent.rmdir()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.stdin.fileno(), int(sys.argv[2]))
    os._exit(0)  # Python's own shutdown frees every imported module while the owner waits
