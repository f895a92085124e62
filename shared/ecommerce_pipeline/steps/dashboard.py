"""The dashboard: one self-contained page about the published copy."""

from __future__ import annotations

import duckdb

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.files.permissions import share
from ecommerce_pipeline.reporting.dashboard import page, queries
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.published import open_published


def refresh_dashboard(context: StepContext) -> StepResult:
    """Replace ``dashboard/index.html``, made from the published copy and the step journal.

    Raises:
        PipelineError: nothing is published, a mart is missing, or the page cannot be written;
            the previous page stays as it was.
    """
    with open_published(context.run) as copy:
        try:
            data = queries.read(copy)
        except duckdb.Error as error:
            raise PipelineError(
                f"the published copy lacks what the dashboard needs: {error}",
                "run the step dbt_run_marts and publish again",
            ) from error
    steps = journal.latest_run(journal.read(context.run, context.interval))
    html = page.render(context, data, steps)
    target = context.run.dashboard
    try:
        with atomic_file(target, point="dashboard") as temporary:
            temporary.write_text(html, encoding="utf-8")
            share(temporary, context.run.path)
    except OSError as error:
        raise PipelineError(
            f"the dashboard {target} could not be replaced and is as it was: {error}",
            "free disk space or fix the permissions, then refresh it again",
        ) from error
    return StepResult(details={"page": str(target), "bytes": target.stat().st_size})
