"""A flow run's settings and its data interval."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any, cast

from prefect import runtime
from prefect.blocks.system import Secret
from prefect.variables import Variable

from constants import SECRETS_BLOCK, SETTINGS_VARIABLE
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DAY, DataInterval


def step_context(interval: DataInterval) -> StepContext:
    """The steps' input, from the environment if it names a run's folder, else from the server."""
    if "PIPELINE_RUN_DIR" in os.environ:
        return StepContext.from_environment(interval)
    settings: Any = Variable.get(SETTINGS_VARIABLE)
    secrets: Any = cast("Any", Secret.load(SECRETS_BLOCK)).get()
    return StepContext.from_environment(interval, {**settings, **secrets})


def data_interval(text: str | None, scheduled: datetime) -> DataInterval:
    """The given interval, else the UTC day before the one for which the run was scheduled."""
    if text is not None:
        return DataInterval.parse(text)
    return DataInterval.for_day(scheduled.astimezone(UTC).date() - DAY)


def flow_run_name() -> str:
    """The interval's label, or the parameter as it is."""
    this = runtime.flow_run
    text = this.parameters.get("interval")
    try:
        return data_interval(text, this.scheduled_start_time).label
    except PipelineError:  # the flow itself fails with this message
        return str(text)
