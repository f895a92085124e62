"""The pipeline's steps in the same order, all doing nothing: measures Dagster's own cost."""

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
        """Take the place of a step."""

    return do_nothing


defs = dg.Definitions(
    assets=[asset(step) for step in STEPS],
    jobs=[dg.define_asset_job("daily", selection=dg.AssetSelection.all())],
    executor=side_by_side(__name__),
)
