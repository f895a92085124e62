"""What we add to the process in which Dagster runs a step: its end, its time limit, dbt's settings.

Dagster limits the time of whole runs alone, and a step's process outlives a run that is killed.
"""

import faulthandler
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from dagster_dbt import DbtCliInvocation

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import end_with_creator
from ecommerce_pipeline.specification import STEP_BY_NAME

REPEAT_SECONDS = 1.0
GRACE_SECONDS = 10.0


def end_with_run() -> None:
    """End this step's process when its run's process is killed."""
    # Dagster resumes the run in a new process, and a step of the dead run would write beside its
    # own retry. Nothing else ends it: it is a child of the fork server, not of the run's process.
    if multiprocessing.parent_process() is not None:
        end_with_creator()


@contextmanager
def time_limit(step: str) -> Iterator[None]:
    """Interrupt the block when it takes longer than the step may; for the main thread.

    A process that Dagster started for the step, and that cannot be interrupted, ends: Dagster
    retries its step.

    Raises:
        PipelineError: the time was up.
    """
    seconds = STEP_BY_NAME[step].timeout_seconds
    time_is_up = PipelineError(
        f"{step} took longer than {seconds:g} s and was stopped",
        "read the step's log, or raise its time-out",
        retryable=True,
    )
    raised: list[PipelineError] = []

    def stop(number: int, frame: FrameType | None) -> None:
        raised.append(time_is_up)
        raise time_is_up

    before = signal.signal(signal.SIGALRM, stop)
    # Again and again: dagster-dbt drops an error that is raised while it reads a line of dbt's.
    signal.setitimer(signal.ITIMER_REAL, seconds, REPEAT_SECONDS)
    if multiprocessing.parent_process() is not None:  # a query of DuckDB may go on
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True)
    try:
        yield
    except Exception as error:
        if raised:  # a library may raise an error of its own in its place
            raise time_is_up from error
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def wait_for(dbt: DbtCliInvocation, step: str) -> int:
    """Wait until the step's dbt has ended, and kill it when its time is up; dbt's exit code.

    Raises:
        PipelineError: the time was up.
    """
    try:
        with time_limit(step):
            dbt.is_successful()
    finally:
        dbt.process.kill()
        dbt.process.wait()
    return int(dbt.process.returncode)


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Give this process another environment for the block, in which it starts dbt itself.

    ``DbtCliResource`` hands on the environment as it is, and has no parameter for more.
    """
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
