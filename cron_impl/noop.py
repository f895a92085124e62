"""The pipeline's steps in the same order, all doing nothing: measures a run's own cost."""

from __future__ import annotations

import sys

from command import main
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_NAMES
from runner import IntervalRunner


def do_nothing(step: str, context: StepContext) -> None:
    """Take the place of a step."""


def pipeline(context: StepContext) -> None:
    """Run every step of one data interval, each after those it needs."""
    first, *others = [name for name in STEP_NAMES if name not in EXTRACT_STEPS]
    with IntervalRunner(context) as run:
        run.step(first, do_nothing)
        run.in_parallel(EXTRACT_STEPS, do_nothing)
        for name in others:
            run.step(name, do_nothing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], pipeline))
