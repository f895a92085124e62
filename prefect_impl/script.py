"""Running the flow as a script, without a server: ``python prefect_impl/pipeline.py``."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.settings import PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS, temporary_settings

from ecommerce_pipeline import source
from ecommerce_pipeline.datasets import advance, load_dataset, reset_source
from ecommerce_pipeline.run_directory import RunDirectory


def run_script(pipeline: Flow[..., Any]) -> None:
    """Run the flow with the script's arguments; without any settings, on a small shop to try it."""
    if "PIPELINE_RUN_DIR" in os.environ or len(sys.argv) > 1:
        arguments = sys.argv[1:]
    else:
        arguments = [create_small_shop()]
    # The temporary server migrates an empty database first; the default of 20 s can be too short.
    with temporary_settings({PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 180}):
        pipeline(*arguments)


def create_small_shop() -> str:
    """Create a small synthetic shop below ``runs/``, use it, and return its first day."""
    run = RunDirectory(Path(__file__).parents[1] / "runs" / "prefect-script")
    run.path.mkdir(parents=True, exist_ok=True)
    os.environ["PIPELINE_RUN_DIR"] = str(run.path)
    dataset = load_dataset("synthetic")
    with closing(source.connect(f"sqlite:///{run.source_file}")) as database:
        reset_source(database)
        return advance(database, dataset, dataset.first_day).isoformat()
