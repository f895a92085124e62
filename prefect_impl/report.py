"""What a flow run leaves on the server: a table of rows, and a page that links to the results."""

from __future__ import annotations

from collections.abc import Mapping

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from ecommerce_pipeline.context import StepContext

Rows = Mapping[str, int]


def report(context: StepContext, rows: Mapping[str, Rows]) -> None:
    """Create the run's artifacts.

    Args:
        context: the steps' input.
        rows: by step, the rows of each table.
    """
    table = [
        {"step": step, "table": name, "rows": count}
        for step, counts in rows.items()
        for name, count in counts.items()
    ]
    run, interval = context.run, context.interval
    create_table_artifact(table, key="rows", description=f"Rows of {interval}")
    create_markdown_artifact(
        f"# {interval.label}\n\n"
        f"- [Dashboard]({run.dashboard.as_uri()})\n"
        f"- Published copy: `{run.published}`\n"
        f"- Journal of all attempts: `{run.step_journal}`\n",
        key="report",
        description=f"Results of the run of {interval}",
    )
