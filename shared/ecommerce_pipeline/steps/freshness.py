"""Source freshness in logical time: how old the newest source row is at the interval's end."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

from ecommerce_pipeline import source
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.source.checks import check_columns


def check_source_freshness(context: StepContext) -> StepResult:
    """Compare the newest ``updated_at`` before the interval's end with ``max_staleness``.

    Raises:
        PipelineError: a table or column is missing or of another type, there is no row before that
            end, or the newest is older than allowed.
    """
    # Not the clock: an interval that is run again next year gives the same answer.
    end = context.interval.end
    with closing(source.connect(context.source_url)) as database:
        for table in TABLES:
            check_columns(database, table)
        newest = database.newest_update(end)
        if newest is None or end - newest > context.max_staleness:
            # Rows whose times cannot be used are a better reason than none or old ones.
            for table in TABLES:
                database.check_rows(table)
    if newest is None:
        raise PipelineError(
            f"the source has no row updated before {end:%Y-%m-%dT%H:%M:%SZ}",
            "load the source first, or run a later interval",
        )
    staleness = end - newest
    if staleness > context.max_staleness:
        raise PipelineError(
            f"the source is stale: its newest row is from {newest:%Y-%m-%dT%H:%M:%SZ}, "
            f"{staleness} before the interval's end, more than {context.max_staleness}",
            "bring the source up to date, or raise PIPELINE_MAX_STALENESS_HOURS",
        )
    details: dict[str, str | int | float] = {
        "newest_update": newest.isoformat(),
        "staleness_seconds": int(staleness.total_seconds()),
    }
    # The clock decides nothing but this warning.
    if end > datetime.now(UTC):
        details["warnings"] = (
            f"the interval {context.interval} is not over yet: run it again after its end"
        )
    return StepResult(details=details)
