"""The steps. ``specification.STEPS`` lists them; here their functions are found.

Each takes a ``StepContext`` and returns a ``StepResult``; each is idempotent, atomic and keyed
on the data interval. A failure raises ``PipelineError``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import shared
from ecommerce_pipeline.files.log import open_log
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.specification import STEP_BY_NAME
from ecommerce_pipeline.storage import journal

Step = Callable[[StepContext], StepResult]
LOCK_WAIT_SECONDS = 60.0

_LOAD = "load_raw"  # the one step that makes the warehouse
_logger = logging.getLogger(__name__)


def resolve(name: str) -> Step:
    """The function of the step ``name``; its module is imported when it is first asked for.

    Raises:
        KeyError: the specification has no such step.
    """
    step = STEP_BY_NAME[name]
    module, _, function = step.function.partition(":")
    run = getattr(import_module(f"{__name__}.{module}"), function)
    return lambda context: run(context, *step.arguments)


def run(name: str, context: StepContext) -> StepResult:
    """Run the step ``name`` in this process, note the attempt in the journal, and log its result.

    Raises:
        PipelineError: the step failed, or the journal cannot be written.
    """
    with attempt(name, context) as this:
        this.result = resolve(name)(context)
    return this.result


@contextmanager
def attempt(name: str, context: StepContext) -> Iterator[journal.Attempt]:
    """For the block, do a step's work in this process; whoever does it sets the attempt's result.

    The journal gets the attempt, and the logs its result: the tool's own, by ``logging``, and the
    step's in the run's folder.

    Raises:
        PipelineError: somebody clears the run's folder, there is no warehouse, or the journal
            cannot be written.
    """
    log = context.run.step_log(name, context.interval)
    with journal.attempt(name, context) as this, in_folder(name, context):
        _append(log, "started")
        try:
            yield this
        except BaseException as error:
            _append(log, f"failed: {journal.reason(error)}")
            raise
        _append(log, f"succeeded: {this.result.summary}")
        _logger.info("%s: %s", name, this.result.summary)


@contextmanager
def in_folder(name: str, context: StepContext) -> Iterator[None]:
    """Keep the run's folder from being cleared while a step works in it.

    Raises:
        PipelineError: somebody clears it, or it has no warehouse and the step does not make one.
    """
    # Shared: steps may run side by side, but nobody may clear the folder meanwhile.
    with shared(context.run.steps_lock, wait_seconds=LOCK_WAIT_SECONDS):
        warehouse = context.run.warehouse
        if STEP_BY_NAME[name].uses_warehouse and name != _LOAD and not warehouse.exists():
            # Opened, it would be made, and an empty one passes every test.
            raise PipelineError(
                f"{name} finds no warehouse {warehouse}",
                f"run the interval again from its first step: {_LOAD} makes it",
            )
        yield


def _append(log: Path, text: str) -> None:
    """Add a line; a full disk loses it, for the step's outcome matters more."""
    with suppress(PipelineError, OSError), open_log(log) as file:
        file.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {text}\n".encode())


def notify_failure(
    context: StepContext,
    reason: str,
    *,
    since: datetime,
    failed: Mapping[str, datetime] | None = None,
) -> StepResult:
    """Notify that a run failed for good: at which steps, and why; never raises.

    Each tool calls this from its own hook for failures; it is no step. The journal names the
    failed steps with their own errors. It has nothing of an attempt that was killed with its
    process.

    Args:
        context: the steps' input.
        reason: why the run failed, in the tool's words; used where the journal does not say it.
        since: when the run started; earlier attempts are those of another run. Aware.
        failed: the steps that failed according to the tool, where it says so; for each when its
            last attempt was started. Aware.
    """
    from ecommerce_pipeline.steps import notify

    found = _failed_steps(context, since, failed or {}, reason)
    return notify.notify_failure(
        context, step=", ".join(found), reason="; ".join(dict.fromkeys(found.values())) or reason
    )


def _failed_steps(
    context: StepContext, since: datetime, last_attempts: Mapping[str, datetime], reason: str
) -> dict[str, str]:
    """The steps that failed, each with its error."""
    entries: list[journal.JournalEntry] = []
    with suppress(OSError):  # an unreadable journal must not keep the message back
        entries = journal.read(context.run, context.interval)
    found = journal.failed_steps(entries, since, last_attempts)
    return {**dict.fromkeys(last_attempts, reason), **found}
