"""The steps: what a variant calls, in the order of ``specification.STEPS``.

Each takes a ``StepContext`` and returns a ``StepResult``; each is idempotent, atomic and keyed
on the data interval. A failure raises ``PipelineError``.
"""

from __future__ import annotations

from collections.abc import Callable

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLE_BY_NAME
from ecommerce_pipeline.result import StepResult


def call(name: str, context: StepContext) -> StepResult:
    """Run the step that the specification calls ``name``."""
    if name.startswith("extract_"):
        return extract(context, name.removeprefix("extract_"))
    return _STEPS[name](context)


def check_source_freshness(context: StepContext) -> StepResult:
    """Fail when the source's newest row before the interval's end is too old at that end."""
    from ecommerce_pipeline import freshness

    return freshness.check(context)


def extract(context: StepContext, table: str) -> StepResult:
    """Write one table's rows of the interval to ``landing/``."""
    from ecommerce_pipeline import extract

    return extract.extract_table(context, TABLE_BY_NAME[table])


def load_raw(context: StepContext) -> StepResult:
    """Merge the interval's landing files into the warehouse's raw schema in one transaction."""
    from ecommerce_pipeline import load

    return load.load_interval(context)


def dbt_run_staging(context: StepContext) -> StepResult:
    """Build the staging views."""
    from ecommerce_pipeline import dbt

    return dbt.run_staging(context)


def dbt_test_staging(context: StepContext) -> StepResult:
    """Test the sources and the staging views: the gate before any mart."""
    from ecommerce_pipeline import dbt

    return dbt.test_staging(context)


def dbt_snapshot(context: StepContext) -> StepResult:
    """Record the customers' history."""
    from ecommerce_pipeline import dbt

    return dbt.snapshot(context)


def dbt_run_marts(context: StepContext) -> StepResult:
    """Build the marts."""
    from ecommerce_pipeline import dbt

    return dbt.run_marts(context)


def dbt_test_marts(context: StepContext) -> StepResult:
    """Test the marts and the snapshot: the gate before publishing."""
    from ecommerce_pipeline import dbt

    return dbt.test_marts(context)


def validate_output(context: StepContext) -> StepResult:
    """Reconcile rows and money between the source interval, raw and the marts."""
    from ecommerce_pipeline import validate

    return validate.validate_interval(context)


def publish(context: StepContext) -> StepResult:
    """Replace the readers' copy atomically."""
    from ecommerce_pipeline import publish

    return publish.publish(context)


def refresh_dashboard(context: StepContext) -> StepResult:
    """Replace the dashboard's page, made from the published copy."""
    from ecommerce_pipeline import dashboard

    return dashboard.refresh(context)


def notify_slack(context: StepContext) -> StepResult:
    """Tell that the interval succeeded; a notifier's own failure is reported, never raised."""
    from ecommerce_pipeline import notify

    return notify.notify_success(context)


def notify_failure(context: StepContext, step: str, reason: str) -> StepResult:
    """Tell that a step failed for good; a notifier's own failure is reported, never raised."""
    from ecommerce_pipeline import notify

    return notify.notify_failure(context, step=step, reason=reason)


_STEPS: dict[str, Callable[[StepContext], StepResult]] = {
    "check_source_freshness": check_source_freshness,
    "load_raw": load_raw,
    "dbt_run_staging": dbt_run_staging,
    "dbt_test_staging": dbt_test_staging,
    "dbt_snapshot": dbt_snapshot,
    "dbt_run_marts": dbt_run_marts,
    "dbt_test_marts": dbt_test_marts,
    "validate_output": validate_output,
    "publish": publish,
    "refresh_dashboard": refresh_dashboard,
    "notify_slack": notify_slack,
}
