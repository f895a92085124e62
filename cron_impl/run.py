"""Runs the control as cron would: the pipeline in a separate process for each interval.

python cron_impl/run.py --days 3
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.harness.command_line import main
from ecommerce_pipeline.harness.variant import NATIVE, pipeline_file, shared_step_server
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, RUNNING, IntervalRun, interval_run_from_json
from ecommerce_pipeline.specification import longest_run_seconds

HERE = Path(__file__).parent


class Cron:
    """The control: the pipeline writes the record to disk; only one form has a service."""

    name = "cron"
    packages: Sequence[str] = ("tenacity",)
    addresses: Mapping[str, str] = {}

    def __init__(self, form: str = NATIVE) -> None:
        self.form = form
        self._pipeline = pipeline_file(HERE, form)
        self._stack = ExitStack()
        self._server: Mapping[str, str] = {}

    def start(self, settings: RunSettings) -> None:
        """Remember the settings; there is nothing to start but the step server of that form."""
        self._settings = settings
        self._server = self._stack.enter_context(shared_step_server(self.form))

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Start the pipeline for one interval and wait for it."""
        return self.backfill([interval])[0]

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Start the pipeline once for all intervals; it stops at the first failure.

        Raises:
            PipelineError: it ended before the first interval started, or did not end in the time
                that its steps have.
        """
        run = self._settings.run
        # The record of an earlier run must not pass for one of this run.
        for interval in intervals:
            run.interval_record(interval).unlink(missing_ok=True)
        log = run.path / "logs" / "cron.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            command = [sys.executable, str(self._pipeline), *map(str, intervals)]
            limit = longest_run_seconds(len(intervals))
            environment = {
                **stated_environment(),
                **self._settings.to_environment(),
                **self._server,
            }
            try:
                subprocess.run(
                    command,
                    env=environment,
                    stdout=output,
                    stderr=output,
                    stdin=subprocess.DEVNULL,
                    check=False,
                    timeout=limit,
                )
            except subprocess.TimeoutExpired:
                raise PipelineError(
                    f"{self._pipeline.name} did not end within {limit:g} s", f"read {log}"
                ) from None
        started = [interval for interval in intervals if run.interval_record(interval).exists()]
        if not started:
            raise PipelineError(f"{self._pipeline.name} ended before its first step", f"read {log}")
        return [self._interval_run(interval) for interval in started]

    def stop(self) -> None:
        """Stop the step server."""
        self._stack.close()

    def _interval_run(self, interval: DataInterval) -> IntervalRun:
        """The record that the pipeline wrote."""
        text = self._settings.run.interval_record(interval).read_text()
        interval_run = interval_run_from_json(json.loads(text))
        # A killed run leaves a record that says running.
        return (
            replace(interval_run, state=FAILED) if interval_run.state == RUNNING else interval_run
        )


VARIANT = Cron

if __name__ == "__main__":
    main(VARIANT, HERE)
