"""A Python step in a process of its own, which can be stopped, and which ends with this one."""

from __future__ import annotations

import multiprocessing
import traceback
from multiprocessing.connection import Connection

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import end_with_creator
from ecommerce_pipeline.result import StepResult

# The processes are forked from a server that has imported what the steps need, once for all.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload(["duckdb", "pandas", "pyarrow.parquet", __name__])


def call(step: str, context: StepContext, timeout_seconds: float) -> StepResult:
    """Run a step's function in a process of its own.

    Raises:
        PipelineError: the step failed, its process was killed, or it took too long and was killed.
    """
    ours, theirs = _processes.Pipe(duplex=False)
    process = _processes.Process(target=_reply, args=[theirs, step, context], name=step)
    process.start()
    theirs.close()  # or nobody would see the process end
    try:
        if not ours.poll(timeout_seconds):
            raise PipelineError(
                f"{step} took longer than {timeout_seconds:g} s and was stopped",
                "find out what it waits for, or raise the step's time-out",
                retryable=True,
            )
        reply: StepResult | PipelineError = ours.recv()
    except EOFError:
        raise PipelineError(
            f"the process of {step} was killed", "run it again", retryable=True
        ) from None
    finally:
        process.kill()
        process.join()
        ours.close()
    if isinstance(reply, PipelineError):
        raise reply
    return reply


def _reply(connection: Connection, step: str, context: StepContext) -> None:
    end_with_creator()
    try:
        connection.send(steps.resolve(step)(context))
    except PipelineError as error:
        connection.send(error)
    except Exception as error:
        traceback.print_exc()
        text = f"{step} failed unexpectedly: {type(error).__name__}: {error}"
        connection.send(PipelineError(text, "read the traceback above", retryable=True))
