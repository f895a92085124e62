"""The pipeline's steps as data: their names, order, functions, retries and time-outs.

Names, order and numbers are defined here. Each ``pipeline.py`` wires the steps in its tool's idiom
and takes their numbers from here; ``steps.resolve`` finds a step's function by this table; and
after a run the steps that the tool's own API reports are compared with ``STEP_NAMES``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecommerce_pipeline.contract import TABLES, Table


@dataclass(frozen=True, slots=True)
class StepSpecification:
    """One step: what does it, what it waits for, and how it is retried and stopped.

    Attributes:
        name: the step's name in every tool.
        upstream: the steps that must have succeeded before it starts.
        function: ``module:function`` below ``ecommerce_pipeline.steps``; a name and not the
            function itself, so that a tool's parser reads this module without dbt or DuckDB.
        arguments: what the function gets after the ``StepContext``: the table to extract, or the
            dbt command and its selector in ``selectors.yml``.
        retries: how often it is tried again after a failure.
        retry_delay_seconds: the wait before the first retry; it doubles with each further one.
        timeout_seconds: after this long, an attempt is killed.
        uses_warehouse: whether it opens the DuckDB file, which one process at a time may.
    """

    name: str
    upstream: tuple[str, ...]
    function: str
    arguments: tuple[object, ...] = ()
    retries: int = 2
    retry_delay_seconds: float = 1.0
    timeout_seconds: float = 600.0
    uses_warehouse: bool = True


def _extract(table: Table) -> StepSpecification:
    return StepSpecification(
        f"extract_{table.name}",
        ("check_source_freshness",),
        "extract:extract_table",
        (table,),
        uses_warehouse=False,
    )


def _dbt(name: str, upstream: str, command: str, selector: str) -> StepSpecification:
    return StepSpecification(name, (upstream,), "dbt:run_selector", (command, selector))


MAX_PARALLEL_STEPS = 2
EXTRACT_STEPS = tuple(f"extract_{table.name}" for table in TABLES)

STEPS = (
    StepSpecification(
        "check_source_freshness", (), "freshness:check_source_freshness", uses_warehouse=False
    ),
    *map(_extract, TABLES),
    StepSpecification("load_raw", EXTRACT_STEPS, "load:load_raw"),
    _dbt("dbt_run_staging", "load_raw", "run", "staging"),
    _dbt("dbt_test_staging", "dbt_run_staging", "test", "staging_tests"),
    _dbt("dbt_snapshot", "dbt_test_staging", "snapshot", "snapshots"),
    _dbt("dbt_run_marts", "dbt_snapshot", "run", "marts"),
    _dbt("dbt_test_marts", "dbt_run_marts", "test", "marts_tests"),
    StepSpecification("validate_output", ("dbt_test_marts",), "validate:validate_output"),
    StepSpecification("publish", ("validate_output",), "publish:publish"),
    StepSpecification(
        "refresh_dashboard", ("publish",), "dashboard:refresh_dashboard", uses_warehouse=False
    ),
    StepSpecification(
        "notify_slack",
        ("refresh_dashboard",),
        "notify:notify_success",
        retries=0,
        uses_warehouse=False,
    ),
)
STEP_NAMES = tuple(step.name for step in STEPS)
STEP_BY_NAME = {step.name: step for step in STEPS}


def longest_run_seconds(intervals: int = 1) -> float:
    """After this long, runs of that many intervals have ended: all attempts at their time-outs.

    For waits that must have a bound; it allows for a tool that resumes a run twice.
    """
    waits = [s.retry_delay_seconds * (2.0**s.retries - 1) for s in STEPS]  # each twice the last
    attempts = [s.timeout_seconds * (1 + s.retries) for s in STEPS]
    return 3 * intervals * (sum(waits) + sum(attempts))
