"""As many steps as the pipeline has that do nothing: what a tool costs by itself.

A variant needs a folder with ``run.py`` and ``noop.py``: the pipeline's steps in the pipeline's
order, each doing nothing. In each round each variant is started once and runs one interval that
does not count; starting is outside the clock.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import partial

from ecommerce_pipeline.interval import DAY, DataInterval, days
from measuring.noop import METRICS, no_op_session
from measuring.options import BenchmarkOptions, BenchmarkOutcome
from measuring.plan import Case, Group, Plan
from measuring.sampling import measure
from pipeline_verification.harness.environments import variant_names

TITLE = "Steps that do nothing: each tool's own floor"
FIRST_DAY = date(2025, 1, 1)
DAYS_IN_A_ROW = 3


def run(options: BenchmarkOptions) -> BenchmarkOutcome:
    """Measure every variant's no-op pipeline; quick: of the control and one other variant."""
    if options.quick and options.variants is None:
        control, *_, other = variant_names()
        options = replace(options, variants=(control, other))
    return measure(plan(quick=options.quick), options)


def plan(*, quick: bool) -> Plan:
    """Daily runs; quick: a single interval."""
    intervals = tuple(days(FIRST_DAY, 1 if quick else DAYS_IN_A_ROW))
    warm_up = [] if quick else [DataInterval.for_day(FIRST_DAY + DAYS_IN_A_ROW * DAY)]
    description = f"one interval through the tool's own API, the mean of {len(intervals)} in a row"
    group = Group(
        {"daily": Case(description, METRICS)},
        partial(no_op_session, intervals=intervals, warm_up=warm_up),
    )
    return Plan("steps", TITLE, (group,))
