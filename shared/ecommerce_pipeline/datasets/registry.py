"""The data sets by the name that ``--dataset`` takes."""

from __future__ import annotations

import json

from ecommerce_pipeline.datasets.base import Dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.base import Source

DATASET_NAMES = ("synthetic", "complete-journey")


def load_dataset(name: str, *, seed: int = 1, scale: int = 1) -> Dataset:
    """Make the data set ``name``.

    Args:
        name: one of ``DATASET_NAMES``.
        seed: what synthetic rows are drawn from; retail data has none.
        scale: how many times the smallest synthetic size; retail data has one size.

    Raises:
        PipelineError: there is no data set of that name, or an option is out of range.
    """
    if name == "synthetic":
        from ecommerce_pipeline.datasets.synthetic import Synthetic

        return Synthetic(seed=seed, scale=scale)
    if name == "complete-journey":
        from ecommerce_pipeline.datasets.complete_journey import CompleteJourney

        return CompleteJourney()
    raise PipelineError(
        f"there is no data set {name!r}", f"choose one of {', '.join(DATASET_NAMES)}"
    )


def recorded_dataset(source: Source) -> Dataset:
    """The data set that the source was loaded with.

    Raises:
        PipelineError: no data set was loaded there.
    """
    state = source.state()
    if not state:
        raise PipelineError(
            "the source holds no data set", "load one first with: ecommerce-pipeline source load"
        )
    return load_dataset(state["dataset"], **json.loads(state["options"]))
