"""A small synthetic shop, for running ``pipeline.py`` without a run's folder."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

from ecommerce_pipeline import source
from ecommerce_pipeline.datasets import advance, load_dataset, reset_source
from ecommerce_pipeline.run_directory import RunDirectory


def create_small_shop() -> str:
    """Create the shop below ``runs/``, set PIPELINE_RUN_DIR to it, and return its first day."""
    run = RunDirectory(Path(__file__).parents[1] / "runs" / "prefect-script")
    run.path.mkdir(parents=True, exist_ok=True)
    os.environ["PIPELINE_RUN_DIR"] = str(run.path)
    dataset = load_dataset("synthetic")
    with closing(source.connect(f"sqlite:///{run.source_file}")) as database:
        reset_source(database)
        return advance(database, dataset, dataset.first_day).isoformat()
