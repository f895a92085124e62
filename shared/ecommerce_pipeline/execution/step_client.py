"""Running one step in a process of its own, with a time-out that leaves no writer alive."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import threading
import time
from contextlib import ExitStack
from io import BufferedRWPair
from pathlib import Path
from typing import Any

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.messages import receive, send
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.specification import STEP_BY_NAME
from ecommerce_pipeline.storage import journal

_starting = threading.Lock()
# By process id, for a forked process inherits this dictionary: the server of its parent would end,
# and kill the step, when the parent ends.
_private_servers: dict[int, Path] = {}


def run_step(
    name: str, context: StepContext, *, timeout_seconds: float | None = None
) -> StepResult:
    """Run the step ``name`` once in a child of the step server, and note it in the journal.

    The server is the one that ``PIPELINE_STEP_SERVER`` names, else one private to this process.
    When this process ends, however it ends, so does the child.

    Args:
        name: a step of the specification.
        context: the step's arguments.
        timeout_seconds: after this long, counted from the call, the child is killed; default: the
            specification's.

    Raises:
        PipelineError: the step failed, was killed, or took too long, the step server did not answer
            in that time, or the journal cannot be written.
    """
    timeout = STEP_BY_NAME[name].timeout_seconds if timeout_seconds is None else timeout_seconds
    with journal.attempt(name, context) as attempt:
        attempt.result = _ask(name, context, timeout)
    return attempt.result


def _ask(name: str, context: StepContext, timeout: float) -> StepResult:
    log = context.run.step_log(name, context.interval)
    request = {
        "step": name,
        "context": context.to_json(),
        "log": str(log),
        # The server may have been started by another process with other settings.
        "environment": {k: v for k, v in os.environ.items() if k.startswith("PIPELINE_")},
    }
    deadline = time.monotonic() + timeout
    address = _server_address()
    # Python closes a socket only with the last stream over it, so the stream is closed here, too.
    with (
        _connected(address, deadline, timeout) as connection,
        connection.makefile("rwb") as stream,
    ):
        child = _child_of(stream, address, timeout)
        try:
            send(stream, request)
            connection.settimeout(_left(deadline))
            reply = receive(stream)
        except TimeoutError:
            _kill(child, connection)
            raise PipelineError(
                f"{name} took longer than {timeout:g} s and was stopped",
                f"read {log}, or raise the step's time-out",
                retryable=True,
            ) from None
        except BaseException:  # a tool's own time-out or a cancellation, raised in this thread
            _kill(child, connection)
            raise
    return _result(name, reply, log)


def _connected(address: Path, deadline: float, timeout: float) -> socket.socket:
    """A connection whose every operation ends at the deadline."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_left(deadline))

    def connect() -> bool:
        try:
            connection.connect(str(address))
        except BlockingIOError:  # the queue of a server that accepts nothing is full
            return False
        return True

    try:
        connected = wait_until(connect, timeout_seconds=_left(deadline))
    except OSError as error:
        connection.close()
        raise PipelineError(
            f"no step server answers at {address}: {error.strerror or error}",
            f"start it with: ecommerce-pipeline serve-steps {address}, or unset "
            f"{step_server.ENVIRONMENT_VARIABLE}",
            retryable=True,
        ) from None
    if not connected:
        connection.close()
        raise _silent(address, timeout)
    connection.settimeout(_left(deadline))
    return connection


def _left(deadline: float) -> float:
    """The seconds until then; never zero, which would mean not to wait at all."""
    return max(deadline - time.monotonic(), 0.001)


def _child_of(stream: BufferedRWPair, address: Path, timeout: float) -> int:
    try:
        greeting = receive(stream)
    except TimeoutError:
        raise _silent(address, timeout) from None
    if greeting is None:
        raise PipelineError(
            "the step server ended before the step began", "run the step again", retryable=True
        )
    return int(greeting["pid"])


def _silent(address: Path, timeout: float) -> PipelineError:
    return PipelineError(
        f"the step server at {address} did not answer within {timeout:g} s",
        "run the step again: a server that does not answer is replaced",
        retryable=True,
    )


def _kill(child: int, connection: socket.socket) -> None:
    """Kill the child's process group and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    # The stream ends once the kernel has closed the child's side, so after its last write. Only
    # then may a retry open the warehouse.
    connection.settimeout(10)
    with contextlib.suppress(OSError):
        while connection.recv(65536):
            pass


def _result(name: str, reply: dict[str, Any] | None, log: Path) -> StepResult:
    if reply is None:
        raise PipelineError(
            f"the process of {name} was killed", f"read {log} and run it again", retryable=True
        )
    if "error" in reply:
        raise PipelineError.from_json(reply["error"])
    return StepResult(**reply)


def _server_address() -> Path:
    address = os.environ.get(step_server.ENVIRONMENT_VARIABLE)
    return Path(address) if address else _private_server(os.getpid())


def _private_server(owner: int) -> Path:
    """The server of this process: ``owner`` keeps a forked process from using its parent's."""
    with _starting:
        if owner not in _private_servers:
            stack = ExitStack()
            _private_servers[owner] = stack.enter_context(step_server.running())
            # A forked process inherits this handler as well, and must not stop its parent's server.
            atexit.register(lambda: stack.close() if os.getpid() == owner else None)
        return _private_servers[owner]
