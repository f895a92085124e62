"""The pipeline under each tool: what an interval and a backfill cost, and where the time goes.

A variant needs a folder with ``run.py`` (its ``VARIANT`` starts the tool and triggers intervals
through the tool's own API), ``pipeline.py``, and ``noop.py``, the same steps doing nothing. Each
further form of its pipeline has cases of its own, such as ``daily-step-server``, so that a ratio is
always one between equal forms.

In each round each variant is started once in each form, on the embedded source, and runs one
interval that does not count. Then, for each case, its folder gets the same state as every
variant's, the intervals run, and its warehouse is compared with the control's: a run that is not
equal has no number.
Starting, resetting and comparing are outside the clock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER, name_in_form
from ecommerce_pipeline.interval import DAY, DataInterval, days
from ecommerce_pipeline.run_directory import RunDirectory
from measuring import noop
from measuring.interval_cost import (
    CPU_SECONDS,
    SECONDS,
    SPLIT,
    mean,
    measure_intervals,
    running_variant,
)
from measuring.options import BenchmarkOptions, BenchmarkOutcome
from measuring.plan import Case, Group, Metric, Plan, Round, Values
from measuring.report import say
from measuring.run_folders import RunFolders, SampleSetup
from measuring.sampling import measure
from pipeline_verification.harness.environments import CONTROL, form_names, variant_names
from pipeline_verification.harness.remote_variant import RemoteVariant

TITLE = "The pipeline: daily runs, a backfill, more rows"
FIRST_DAY = date(2025, 1, 1)
DAILY_DAYS, BACKFILL_DAYS = 3, 14
SCALES = (1, 10, 100)
WARM_UP, DAILY, BACKFILL, DAILY_NO_OP = "warm-up", "daily", "backfill", "daily-noop"
COST = {"seconds": SECONDS, "cpu_seconds": CPU_SECONDS, **SPLIT}
GOAL = {
    "floor_seconds": Metric("s", "no-op floor"),
    "goal": Metric("", "of control + floor", compared=False),
}


def run(options: BenchmarkOptions) -> BenchmarkOutcome:
    """Measure every variant's pipeline and its no-op floor in the same rounds."""
    daily_days, backfill_days = (1, 2) if options.quick else (DAILY_DAYS, BACKFILL_DAYS)
    setups = sample_setups(daily_days, backfill_days)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        folders = RunFolders(Path(folder), setups)
        return measure(plan(folders, options), options)


def sample_setups(daily_days: int, backfill_days: int) -> dict[str, SampleSetup]:
    """What the cases do; the backfill follows the daily runs, so that no tool ran its days yet."""
    daily = tuple(days(FIRST_DAY, daily_days))
    later = tuple(days(FIRST_DAY + daily_days * DAY, backfill_days))
    after_all = DataInterval.for_day(FIRST_DAY + (daily_days + backfill_days) * DAY)
    return {
        # The last day of all: no case runs it, and its data are removed before the first case.
        WARM_UP: SampleSetup([after_all]),
        DAILY: SampleSetup(daily),
        BACKFILL: SampleSetup(later, backfill=True, after=DAILY),
        **{f"rows-{scale}x": SampleSetup(daily[:1], scale=scale) for scale in SCALES},
    }


def plan(folders: RunFolders, options: BenchmarkOptions) -> Plan:
    """A group of cases for each form of the pipeline, and one for steps that do nothing."""
    forms = [NATIVE] if options.quick else form_names()
    measured = {form: cases(folders, form) for form in forms}
    if options.quick:
        measured = {NATIVE: {DAILY: measured[NATIVE][DAILY]}}
    by_name = {name: setup_of(name, form) for form, of in measured.items() for name in of}
    references = References(folders, {by_name.get(name, name) for name in options.cases or by_name})
    of_forms = [
        Group(
            of_form,
            partial(session, references=references, form=form, warm=not options.quick),
            variant_names(form),
        )
        for form, of_form in measured.items()
    ]
    floor = Group(no_op_cases(folders), partial(no_op_session, folders=folders))
    groups = of_forms if options.quick else [*of_forms, floor]
    return Plan("pipeline", TITLE, tuple(groups), against_the_floor)


def setup_of(case: str, form: str) -> str:
    """The inverse of ``name_in_form``."""
    return case if form == NATIVE else case.removesuffix(f"-{form}")


def cases(folders: RunFolders, form: str = NATIVE) -> dict[str, Case]:
    """The cases of the pipeline in a form: all of the native one, the first of the others."""
    every = _native_cases(folders)
    wanted = {NATIVE: every, STEP_SERVER: (DAILY, BACKFILL)}.get(form, (DAILY,))
    title = "" if form == NATIVE else f"in the form {form}: "
    return {
        name_in_form(name, form): replace(case, description=f"{title}{case.description}")
        for name, case in every.items()
        if name in wanted
    }


def _native_cases(folders: RunFolders) -> dict[str, Case]:
    days_in_a_row = len(folders.setups[DAILY].intervals)
    backfilled = len(folders.setups[BACKFILL].intervals)
    return {
        DAILY: Case(
            f"one interval through the tool's own API, the mean of {days_in_a_row} in a row",
            {**COST, **GOAL},
        ),
        BACKFILL: Case(
            f"{backfilled} days through the tool's own backfill, after those of daily", COST
        ),
        **{
            f"rows-{scale}x": Case(
                f"the first day of the data set at scale {scale}, into an empty warehouse", COST
            )
            for scale in SCALES
        },
    }


def no_op_cases(folders: RunFolders) -> dict[str, Case]:
    """The case of daily intervals with steps that do nothing."""
    description = f"{cases(folders)[DAILY].description}, with steps that do nothing"
    return {DAILY_NO_OP: Case(description, noop.METRICS)}


def against_the_floor(variant: Round, control: Round) -> dict[str, Values]:
    """The floor of the same round, and the seconds divided by control and floor together."""
    if DAILY_NO_OP not in variant:
        return {}
    floor = variant[DAILY_NO_OP]["seconds"]
    derived: dict[str, Values] = {}
    for case in (name_in_form(DAILY, form) for form in form_names()):
        if case in variant:
            derived[case] = {"floor_seconds": floor}
            if case in control:
                base = control[case]["seconds"] + floor
                derived[case]["goal"] = round(variant[case]["seconds"] / base, 3)
    return derived


class References:
    """The run folders, with the control's data after each case; made before the first session.

    Args:
        folders: where they are stored.
        wanted: the names of the setups that will be measured.
    """

    def __init__(self, folders: RunFolders, wanted: Iterable[str]) -> None:
        self.folders = folders
        setups = {case: folders.setups[case] for case in wanted if case != DAILY_NO_OP}
        before = {setup.after for setup in setups.values()}
        self._missing = [case for case in folders.setups if case in {*setups, *before}]

    def make(self, folder: Path) -> None:
        """Run the control through all cases once; these runs are not samples."""
        if not self._missing:
            return
        say("running the control once, for the data that every variant's must equal")
        with _started(CONTROL, folder, self.folders, STEP_SERVER, warm=False) as reference:
            while self._missing:
                case = self._missing[0]
                reference.perform(case)
                self.folders.store_reference(reference.run, case)
                # Only now: after a failure the next session tries this case again.
                self._missing.pop(0)


@dataclass(slots=True)
class PipelineSession:
    """A started variant that has run one interval."""

    variant: RemoteVariant
    run: RunDirectory
    folders: RunFolders
    form: str

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the variant's packages."""
        return self.variant.versions

    def measure(self, case: str) -> Values:
        """The case's cost, provided that its warehouse equals the control's."""
        name = setup_of(case, self.form)
        values = self.perform(name)
        self.folders.raise_if_different(self.run, name)
        return values

    def perform(self, name: str) -> Values:
        """Bring the folder into the setup's state and run it; the mean cost of its batches."""
        setup = self.folders.setups[name]
        self.folders.reset(self.run, name)
        costs = []
        for batch in setup.batches:
            # A copy of a prepared source: advancing one would take the same time again each round.
            self.folders.copy_source(self.run, setup.scale, batch[-1].start.date())
            costs.append(measure_intervals(self.variant, self.run, batch, backfill=setup.backfill))
        return mean(costs)


@contextmanager
def session(
    variant: str, folder: Path, references: References, form: str, *, warm: bool
) -> Iterator[PipelineSession]:
    """Start a variant in a new folder, once the control's data are there to compare with."""
    references.make(folder / "reference")
    with _started(variant, folder / "run", references.folders, form, warm=warm) as ready:
        yield ready


@contextmanager
def _started(
    variant: str, folder: Path, folders: RunFolders, form: str, *, warm: bool
) -> Iterator[PipelineSession]:
    run = RunDirectory(folder)
    with running_variant(variant, form, run) as started:
        ready = PipelineSession(started, run, folders, form)
        if warm:
            ready.perform(WARM_UP)
        yield ready


@contextmanager
def no_op_session(variant: str, folder: Path, folders: RunFolders) -> Iterator[noop.NoOpSession]:
    """Start the variant's steps that do nothing."""
    daily = folders.setups[DAILY].intervals
    warm_up = folders.setups[WARM_UP].intervals
    with noop.no_op_session(variant, folder, daily, warm_up) as ready:
        yield ready
