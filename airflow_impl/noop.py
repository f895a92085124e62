"""The pipeline's steps in the same order, all doing nothing: measures Airflow's own cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import XComArg, chain, dag, task
from utc_days import UtcDays

from ecommerce_pipeline.specification import (
    EXTRACT_STEPS,
    MAX_PARALLEL_STEPS,
    STEPS,
    StepSpecification,
)


@task
def do_nothing(step: str) -> None:
    """Take the place of a step."""


def step(specification: StepSpecification) -> XComArg:
    """The task of one step, in the step's pool."""
    pool = "warehouse" if specification.uses_warehouse else "default_pool"
    return do_nothing.override(task_id=specification.name, pool=pool)(specification.name)


@dag(
    dag_id="ecommerce_pipeline",  # the same as the pipeline's, as run.py triggers it by its id
    schedule=UtcDays(delay=timedelta(hours=6)),
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
)
def noop() -> None:
    """Every step of one data interval, each after those it needs."""
    first, *others = [step(each) for each in STEPS if each.name not in EXTRACT_STEPS]
    extract = do_nothing.override(
        task_id="extract",
        map_index_template="{{ task.op_kwargs['step'] }}",
        max_active_tis_per_dagrun=MAX_PARALLEL_STEPS,
    )
    chain(first, extract.expand(step=EXTRACT_STEPS), *others)


noop()
