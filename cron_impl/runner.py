"""Retries with backoff, parallel steps and a record of each run, as an orchestrator has them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
)

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError, is_retryable
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.interval_run import FAILED, RUNNING, SUCCESS, IntervalRun, StepRun, to_json
from ecommerce_pipeline.specification import MAX_PARALLEL_STEPS, STEP_BY_NAME
from ecommerce_pipeline.storage import journal

RunStep = Callable[[str, StepContext], object]


class IntervalRunner:
    """Runs the steps of one interval and keeps a record of them on disk.

    Leaving the block with an error notifies of the failure and lets the error through.
    """

    def __init__(self, context: StepContext) -> None:
        self._context = context
        self._steps: dict[str, StepRun] = {}
        self._started_at = datetime.now(UTC)

    def __enter__(self) -> IntervalRunner:
        try:
            self._write(RUNNING)
        except PipelineError as problem:
            self._notify(problem)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._write(SUCCESS if error is None else FAILED)
        except PipelineError as problem:
            if error is None:
                self._notify(problem)
                raise
        if isinstance(error, Exception):  # Ctrl+C is no failure
            self._notify(error)

    def step(self, name: str, run: RunStep) -> None:
        """Run one step, and retry it after a failure that is retryable."""
        attempts = Retrying(
            **task_options(name), before=lambda state: self._begin(name, state), reraise=True
        )
        try:
            attempts(run, name, self._context)
        except BaseException:  # Ctrl+C belongs in the record, too
            self._end(name, FAILED)
            raise
        self._end(name, SUCCESS)

    def in_parallel(self, names: Sequence[str], run: RunStep) -> None:
        """Run several steps in parallel, wait for all, and raise the first failure."""
        with ThreadPoolExecutor(MAX_PARALLEL_STEPS) as pool:
            outcomes = [pool.submit(self.step, name, run) for name in names]
        for outcome in outcomes:
            outcome.result()

    def _notify(self, error: Exception) -> None:
        failed = {
            step.name: step.started_at
            for step in self._steps.values()
            if step.state == FAILED and step.started_at
        }
        reason, since = journal.reason(error), self._started_at
        steps.notify_failure(self._context, reason, since=since, failed=failed)

    def _begin(self, name: str, state: RetryCallState) -> None:
        self._steps[name] = StepRun(
            name=name,
            state=RUNNING,
            tool_state=RUNNING,
            attempts=state.attempt_number,
            started_at=datetime.now(UTC),
            ended_at=None,
        )

    def _end(self, name: str, state: str) -> None:
        self._steps[name] = replace(
            self._steps[name], state=state, tool_state=state, ended_at=datetime.now(UTC)
        )

    def _write(self, state: str) -> None:
        interval_run = IntervalRun(
            interval=str(self._context.interval),
            run_id=f"cron-{self._started_at:%Y%m%dT%H%M%S.%fZ}",
            state=state,
            tool_state=state,
            started_at=self._started_at,
            ended_at=None if state == RUNNING else datetime.now(UTC),
            steps=tuple(self._steps.values()),
        )
        target = self._context.run.interval_record(self._context.interval)
        try:
            with atomic_file(target, point="record") as temporary:
                temporary.write_text(json.dumps(to_json(interval_run), indent=2))
        except OSError as error:
            raise PipelineError(
                f"the run's record {target} cannot be written: {error.strerror or error}",
                "free disk space or make it writable, then run the interval again",
            ) from error


def task_options(step: str) -> dict[str, Any]:
    """A step's retries and the waits between them, for tenacity."""
    # What runs the step enforces the time-out.
    specification = STEP_BY_NAME[step]
    return {
        "stop": stop_after_attempt(1 + specification.retries),
        "wait": wait_exponential(multiplier=specification.retry_delay_seconds),
        "retry": retry_if_exception(is_retryable),
    }
