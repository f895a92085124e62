"""The data sets: deterministic histories of the source database."""

from __future__ import annotations

from ecommerce_pipeline.datasets.base import Dataset, advance, start_anew
from ecommerce_pipeline.datasets.registry import DATASET_NAMES, held_dataset, load_dataset

__all__ = ["DATASET_NAMES", "Dataset", "advance", "held_dataset", "load_dataset", "start_anew"]
