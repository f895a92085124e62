"""The pipeline's settings as Dagster resources, for both forms of the pipeline."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
from dagster_dbt import DbtCliResource

from ecommerce_pipeline.context import DEFAULT_KEY_SNAPSHOT_ROWS, DEFAULT_MAX_KEY_LOSS
from ecommerce_pipeline.dbt_runner.manifest import project_folder

FIRST_DAY = os.environ.get("PIPELINE_FIRST_DAY", "2017-01-01")
# dbt's own command, but it ends with the process that started it; plain dbt would write on.
PIPELINE_DBT = Path(sys.executable).with_name("pipeline-dbt")


class Settings(dg.ConfigurableResource[None]):
    """Where the pipeline works, and what its steps need to know."""

    run_dir: str
    source_url: str = ""
    max_staleness_hours: str = "48"
    slack_webhook_url: str = ""
    lookback: str = "0"
    max_key_loss: str = str(DEFAULT_MAX_KEY_LOSS)
    key_snapshot_rows: str = str(DEFAULT_KEY_SNAPSHOT_ROWS)

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings under the names that the steps know."""
        return {f"PIPELINE_{name.upper()}": value for name, value in self.model_dump().items()}


def dbt_resource() -> DbtCliResource:
    """dbt on the project of this checkout."""
    return DbtCliResource(project_dir=project_folder(), dbt_executable=PIPELINE_DBT)


def resources() -> dict[str, dg.ConfigurableResource[None]]:
    """What the steps are given; Dagster reads the environment when a run needs it."""
    # A run fails on an EnvVar that is not set. Pages show an EnvVar's name instead of its value.
    given = {
        name: dg.EnvVar(variable)
        for name in Settings.model_fields
        if (variable := f"PIPELINE_{name.upper()}") in os.environ
    }
    return {
        "settings": Settings(**{"run_dir": dg.EnvVar("PIPELINE_RUN_DIR"), **given}),
        "dbt": dbt_resource(),
    }
