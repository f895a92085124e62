"""The pipeline under each tool: what an interval and a backfill cost, and where the time goes.

A variant needs a folder with ``run.py`` (its ``VARIANT`` starts the tool and triggers intervals
through the tool's own API), ``pipeline.py``, and ``noop.py``, the same steps doing nothing.

In each round each variant is started once, on the embedded source, and runs one interval that
nobody counts. Then, for each case, its folder is put into the same state as everybody's, the
intervals run, and its warehouse is held against the control's: a run that is not equal has no
number. Starting, resetting and comparing are outside the clock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from ecommerce_pipeline.interval import DAY, DataInterval, days
from ecommerce_pipeline.run_directory import RunDirectory
from measuring import noop
from measuring.hosted import CPU_SECONDS, SECONDS, SPLIT, cost, hosted, mean
from measuring.options import Options, Outcome
from measuring.plan import Case, Group, Metric, Plan, Round, Values
from measuring.report import say
from measuring.sampling import measure
from measuring.stage import Scenario, Stage
from pipeline_verification.harness.environments import CONTROL
from pipeline_verification.harness.remote_variant import PIPELINE, RemoteVariant

TITLE = "The pipeline: daily runs, a backfill, more rows"
FIRST_DAY = date(2025, 1, 1)
DAILY_DAYS, BACKFILL_DAYS = 3, 14
SCALES = (1, 10, 100)
WARM_UP, DAILY, DAILY_NO_OP = "warm-up", "daily", "daily-noop"
COST = {"seconds": SECONDS, "cpu_seconds": CPU_SECONDS, **SPLIT}
GOAL = {
    "floor_seconds": Metric("s", "no-op floor"),
    "goal": Metric("", "of control + floor", compared=False),
}


def run(options: Options) -> Outcome:
    """Measure every variant's pipeline and its no-op floor in the same rounds."""
    daily_days, backfill_days = (1, 2) if options.quick else (DAILY_DAYS, BACKFILL_DAYS)
    all_scenarios = scenarios(daily_days, backfill_days)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        stage = Stage(Path(folder), all_scenarios)
        return measure(plan(stage, options), options)


def scenarios(daily_days: int, backfill_days: int) -> dict[str, Scenario]:
    """What the cases do; the backfill follows the daily runs, so that no tool ran its days yet."""
    daily = tuple(days(FIRST_DAY, daily_days))
    later = tuple(days(FIRST_DAY + daily_days * DAY, backfill_days))
    after_all = DataInterval.for_day(FIRST_DAY + (daily_days + backfill_days) * DAY)
    return {
        WARM_UP: Scenario([after_all]),
        DAILY: Scenario(daily),
        "backfill": Scenario(later, backfill=True, after=DAILY),
        **{f"rows-{scale}x": Scenario(daily[:1], scale=scale) for scale in SCALES},
    }


def plan(stage: Stage, options: Options) -> Plan:
    """The cases in two groups: the pipeline's, and those of as many steps that do nothing."""
    measured = cases(stage)
    if options.quick:
        measured = {DAILY: measured[DAILY]}
    references = References(stage, options.cases or measured)
    pipeline = Group(measured, partial(session, stage=references, warm=not options.quick))
    floor = Group(no_op_cases(stage), partial(no_op_session, stage=stage))
    groups = (pipeline,) if options.quick else (pipeline, floor)
    return Plan("pipeline", TITLE, groups, against_the_floor)


def cases(stage: Stage) -> dict[str, Case]:
    """The pipeline's cases."""
    days_in_a_row = len(stage.scenarios[DAILY].intervals)
    backfilled = len(stage.scenarios["backfill"].intervals)
    return {
        DAILY: Case(
            f"one interval through the tool's own API, the mean of {days_in_a_row} in a row",
            {**COST, **GOAL},
        ),
        "backfill": Case(
            f"{backfilled} days through the tool's own backfill, after those of daily", COST
        ),
        **{
            f"rows-{scale}x": Case(
                f"the first day of the data set at scale {scale}, into an empty warehouse", COST
            )
            for scale in SCALES
        },
    }


def no_op_cases(stage: Stage) -> dict[str, Case]:
    """The daily intervals with steps that do nothing."""
    description = f"{cases(stage)[DAILY].description}, with steps that do nothing"
    return {DAILY_NO_OP: Case(description, noop.METRICS)}


def against_the_floor(variant: Round, control: Round) -> dict[str, Values]:
    """The floor of the same round, and the seconds over control and floor together."""
    if DAILY not in variant or DAILY_NO_OP not in variant:
        return {}
    floor = variant[DAILY_NO_OP]["seconds"]
    derived = {"floor_seconds": floor}
    if DAILY in control:
        base = control[DAILY]["seconds"] + floor
        derived["goal"] = round(variant[DAILY]["seconds"] / base, 3)
    return {DAILY: derived}


class References:
    """The stage, with what the control leaves after each case; made when first asked for."""

    def __init__(self, stage: Stage, wanted: Iterable[str]) -> None:
        self.stage = stage
        of_the_pipeline = {case: stage.scenarios[case] for case in wanted if case != DAILY_NO_OP}
        before = {scenario.after for scenario in of_the_pipeline.values()}
        self._missing = [case for case in stage.scenarios if case in {*of_the_pipeline, *before}]

    def make(self, folder: Path) -> None:
        """Run the control through all cases once; nobody counts that."""
        if not self._missing:
            return
        say("running the control once, for what every variant must leave")
        with _started(CONTROL, folder, self.stage, warm=False) as reference:
            while self._missing:
                case = self._missing[0]
                reference.perform(case)
                self.stage.keep(reference.run, case)
                self._missing.pop(0)


@dataclass(slots=True)
class PipelineSession:
    """A variant that is up and has run one interval."""

    variant: RemoteVariant
    run: RunDirectory
    stage: Stage

    @property
    def versions(self) -> Mapping[str, str]:
        """Of what it runs on."""
        return self.variant.versions

    def measure(self, case: str) -> Values:
        """Perform the case; its cost, if its warehouse is then equal to the control's."""
        values = self.perform(case)
        self.stage.must_equal(self.run, case)
        return values

    def perform(self, case: str) -> Values:
        """Put the folder into the case's state and run it; the mean over what was triggered."""
        scenario = self.stage.scenarios[case]
        self.stage.reset(self.run, case)
        costs = []
        for batch in scenario.batches:
            self.stage.put_source(self.run, scenario.scale, batch[-1].start.date())
            costs.append(cost(self.variant, self.run, batch, backfill=scenario.backfill))
        return mean(costs)


@contextmanager
def session(
    variant: str, folder: Path, stage: References, *, warm: bool
) -> Iterator[PipelineSession]:
    """Start a variant in a new folder, once it is known what the control leaves."""
    stage.make(folder / "reference")
    with _started(variant, folder / "run", stage.stage, warm=warm) as ready:
        yield ready


@contextmanager
def _started(variant: str, folder: Path, stage: Stage, *, warm: bool) -> Iterator[PipelineSession]:
    run = RunDirectory(folder)
    with hosted(variant, PIPELINE, run) as started:
        ready = PipelineSession(started, run, stage)
        if warm:
            ready.perform(WARM_UP)
        yield ready


@contextmanager
def no_op_session(variant: str, folder: Path, stage: Stage) -> Iterator[noop.NoOpSession]:
    """Start the variant's steps that do nothing."""
    daily = stage.scenarios[DAILY].intervals
    warm_up = stage.scenarios[WARM_UP].intervals
    with noop.no_op_session(variant, folder, daily, warm_up) as ready:
        yield ready
