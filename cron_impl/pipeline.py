"""The pipeline in plain Python: cron starts it each morning for the day before.

    0 6 * * *  cd /srv/shop && PIPELINE_RUN_DIR=/srv/shop/run venv/bin/python cron_impl/pipeline.py

``runner.py`` has the retries and the record, which an orchestrator would provide.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.files.permissions import PRIVATE_UMASK
from ecommerce_pipeline.interval import DAY, DataInterval
from ecommerce_pipeline.specification import EXTRACT_STEPS
from runner import IntervalRunner


def pipeline(context: StepContext) -> None:
    """Run every step of one data interval, each after those it needs."""
    with IntervalRunner(context) as run:
        run.step("check_source_freshness")
        run.in_parallel(EXTRACT_STEPS)
        run.step("load_raw")
        run.step("dbt_run_staging")
        run.step("dbt_test_staging")
        run.step("dbt_snapshot")
        run.step("dbt_run_marts")
        run.step("dbt_test_marts")
        run.step("validate_output")
        run.step("publish")
        run.step("refresh_dashboard")
        run.step("notify_slack")


def yesterday() -> DataInterval:
    """The UTC day that ended last."""
    return DataInterval.for_day(datetime.now(UTC).date() - DAY)


def main(arguments: list[str], pipeline: Callable[[StepContext], None] = pipeline) -> int:
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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
