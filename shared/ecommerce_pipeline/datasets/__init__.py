"""The data sets: deterministic histories of the source database."""

from __future__ import annotations

from ecommerce_pipeline.datasets.base import Dataset, advance, reset_source
from ecommerce_pipeline.datasets.registry import DATASET_NAMES, load_dataset, recorded_dataset

__all__ = [
    "DATASET_NAMES",
    "Dataset",
    "advance",
    "load_dataset",
    "recorded_dataset",
    "reset_source",
]
