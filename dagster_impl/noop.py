"""The steps of the pipeline in their order, but doing nothing: what Dagster itself costs."""

import os

import dagster as dg

from ecommerce_pipeline.specification import STEPS, StepSpecification
from executor import side_by_side

DAYS = dg.DailyPartitionsDefinition(
    start_date=os.environ.get("PIPELINE_FIRST_DAY", "2017-01-01"), timezone="UTC"
)


def asset(step: StepSpecification) -> dg.AssetsDefinition:
    """The asset of one step, in the step's pool."""

    @dg.asset(
        name=step.name,
        deps=list(step.upstream),
        pool="warehouse" if step.uses_warehouse else None,
        partitions_def=DAYS,
    )
    def do_nothing() -> None:
        """Stand for a step."""

    return do_nothing


defs = dg.Definitions(
    assets=[asset(step) for step in STEPS],
    jobs=[dg.define_asset_job("daily", selection=dg.AssetSelection.all())],
    executor=side_by_side(__name__),
)
