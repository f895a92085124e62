"""What cron starts: the command line of every form of the pipeline."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.files.permissions import PRIVATE_UMASK
from ecommerce_pipeline.interval import DAY, DataInterval


def main(arguments: Sequence[str], pipeline: Callable[[StepContext], None]) -> int:
    """Process the intervals named (``2025-01-31`` or ``START/END``), in order; else yesterday."""
    try:
        os.umask(PRIVATE_UMASK)
        intervals = [DataInterval.parse(text) for text in arguments] or [yesterday()]
        contexts = [StepContext.from_environment(interval) for interval in intervals]
        with exclusive(contexts[0].run.lock):
            for context in contexts:
                pipeline(context)
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 (cron mails what is printed)
        return 1
    return 0


def yesterday() -> DataInterval:
    """The UTC day that ended last."""
    return DataInterval.for_day(datetime.now(UTC).date() - DAY)
