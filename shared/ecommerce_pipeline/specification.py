"""The pipeline's steps as data: their names, order, retries and time-outs.

Every variant takes these numbers from here; after a run, the steps that the tool's own API
reports are compared with ``STEP_NAMES``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecommerce_pipeline.contract import TABLES


@dataclass(frozen=True, slots=True)
class StepSpecification:
    """One step: what it waits for, and how it is retried and stopped.

    Attributes:
        name: the step's name in every tool.
        upstream: the steps that must have succeeded before it starts.
        retries: how often it is tried again after a failure.
        retry_delay_seconds: the wait before the first retry; it doubles with each further one.
        timeout_seconds: after this long, an attempt is killed.
        uses_warehouse: whether it opens the DuckDB file, which one process at a time may.
    """

    name: str
    upstream: tuple[str, ...]
    retries: int = 2
    retry_delay_seconds: float = 1.0
    timeout_seconds: float = 600.0
    uses_warehouse: bool = True


MAX_PARALLEL_STEPS = 2
EXTRACT_STEPS = tuple(f"extract_{table.name}" for table in TABLES)

STEPS = (
    StepSpecification("check_source_freshness", (), uses_warehouse=False),
    *(
        StepSpecification(name, ("check_source_freshness",), uses_warehouse=False)
        for name in EXTRACT_STEPS
    ),
    StepSpecification("load_raw", EXTRACT_STEPS),
    StepSpecification("dbt_run_staging", ("load_raw",)),
    StepSpecification("dbt_test_staging", ("dbt_run_staging",)),
    StepSpecification("dbt_snapshot", ("dbt_test_staging",)),
    StepSpecification("dbt_run_marts", ("dbt_snapshot",)),
    StepSpecification("dbt_test_marts", ("dbt_run_marts",)),
    StepSpecification("validate_output", ("dbt_test_marts",)),
    StepSpecification("publish", ("validate_output",)),
    StepSpecification("refresh_dashboard", ("publish",), uses_warehouse=False),
    StepSpecification("notify_slack", ("refresh_dashboard",), retries=0, uses_warehouse=False),
)
STEP_NAMES = tuple(step.name for step in STEPS)
STEP_BY_NAME = {step.name: step for step in STEPS}
