"""Is a finished run right? ``RUN_CHECKS`` is the one list of what that means.

The conformance suite, the run of all variants and ``tests/equivalence`` all go through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.interval_run import FAILED, SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification import checks
from pipeline_verification.checks import SNAPSHOT, Check, Tables
from pipeline_verification.compare import compare_table
from pipeline_verification.oracle.history import Event, IntervalSucceeded

RAW_TABLES = (
    *(f"raw.{table.name}" for table in TABLES),
    *(f"raw.deleted_{table.name}" for table in TABLES),
    "raw.loaded_intervals",
)
MARTS = (
    "marts.daily_revenue_by_category",
    "marts.dim_customers",
    "marts.dim_products",
    "marts.fct_orders",
    "marts.fct_page_views",
)
ORACLE, PUBLISHED, STEPS = "equals the oracle", "published copy", "steps"

Problems = Sequence[object]


@dataclass(frozen=True, slots=True)
class TriggeredRun:
    """One interval's run, and the step at which it had to fail; None when it had to succeed."""

    run: IntervalRun
    fails_at: str | None = None


@dataclass(frozen=True, slots=True)
class FinishedRunEvidence:
    """Everything that the checks use.

    Attributes:
        folder: the run's files.
        state: of the run as a whole.
        history: what happened, in order, without the runs that failed.
        runs: the interval runs to check, as the variant's own tool reports them.
        expected: the oracle's tables.
        whole_history: False when the order of the runs is not known. Then the snapshot's closed
            versions are not known either, and its current versions alone are checked.
    """

    folder: RunDirectory
    state: str
    history: Sequence[Event]
    runs: Sequence[TriggeredRun]
    expected: Tables
    whole_history: bool = True


@dataclass(frozen=True, slots=True)
class RunCheck:
    """One check of a finished run.

    Attributes:
        name: what it checks.
        group: ``ORACLE``, ``PUBLISHED`` or ``STEPS``: the line in which a report counts it.
        problems: finds what is wrong.
        needs_whole_history: whether it is left out where the order of the runs is not known.
    """

    name: str
    group: str
    problems: Callable[[FinishedRunEvidence], Problems]
    needs_whole_history: bool = False

    def applies_to(self, evidence: FinishedRunEvidence) -> bool:
        """Whether the check can be made."""
        return evidence.whole_history or not self.needs_whole_history


def verify(evidence: FinishedRunEvidence) -> dict[str, Check]:
    """Make all checks; the result by group.

    Raises:
        duckdb.Error, OSError: a file of the run is missing, so that nothing can be checked.
    """
    details = {
        ORACLE: checks.warehouse_size(evidence.folder.warehouse),
        PUBLISHED: "equals the warehouse",
        STEPS: _count_steps(evidence.runs),
    }
    problems: dict[str, list[object]] = {group: [] for group in details}
    for check in RUN_CHECKS:
        if check.applies_to(evidence):
            problems[check.group] += check.problems(evidence)
    return {group: Check.of(problems[group], detail) for group, detail in details.items()}


def all_of(found: dict[str, Check], detail: str) -> Check:
    """One check that passed, with this detail, when all passed."""
    return Check.of([check.detail for check in found.values() if not check.passed], detail)


def _table(name: str, evidence: FinishedRunEvidence) -> Problems:
    if name not in evidence.expected:
        return [f"{name}: the oracle does not compute it"]
    return compare_table(evidence.folder.warehouse, name, evidence.expected[name])


def _set_of_tables(evidence: FinishedRunEvidence) -> Problems:
    # A mart that the oracle has and RAW_TABLES or MARTS lacks would be checked by nobody.
    unchecked = evidence.expected.keys() ^ {*RAW_TABLES, *MARTS, SNAPSHOT}
    return [
        *(
            f"{name}: not both in the oracle and in the list of checks"
            for name in sorted(unchecked)
        ),
        *checks.unexpected_tables(evidence.folder, evidence.expected),
    ]


def _current_customers(evidence: FinishedRunEvidence) -> Problems:
    return checks.current_customers(evidence.folder, evidence.expected[SNAPSHOT])


def _run_succeeded(evidence: FinishedRunEvidence) -> Problems:
    return [] if evidence.state == SUCCESS else [f"the run is {evidence.state}"]


def _intervals_ended(evidence: FinishedRunEvidence) -> Problems:
    if not evidence.runs:
        return ["no interval ran"]
    return [
        f"the run of {each.run.interval} is {each.run.state}"
        for each in evidence.runs
        if each.run.state != (SUCCESS if each.fails_at is None else FAILED)
    ]


def _history_is_complete(evidence: FinishedRunEvidence) -> Problems:
    in_history = {
        str(event.interval) for event in evidence.history if isinstance(event, IntervalSucceeded)
    }
    ran = {each.run.interval for each in evidence.runs if each.fails_at is None}
    return [f"the history lacks the run of {interval}" for interval in sorted(ran - in_history)]


def _steps_ran(evidence: FinishedRunEvidence) -> Problems:
    return [
        problem
        for each in evidence.runs
        for problem in (
            checks.steps_ran(each.run)
            if each.fails_at is None
            else checks.stopped_at(each.run, each.fails_at)
        )
    ]


def _steps_in_order(evidence: FinishedRunEvidence) -> Problems:
    return [problem for each in evidence.runs for problem in checks.steps_in_order(each.run)]


def _count_steps(runs: Sequence[TriggeredRun]) -> str:
    steps = sum(step.state == SUCCESS for each in runs for step in each.run.steps)
    return f"{steps} in {len(runs)} runs, each as specified"


RUN_CHECKS = (
    *(RunCheck(name, ORACLE, partial(_table, name)) for name in (*RAW_TABLES, *MARTS)),
    RunCheck("current customers", ORACLE, _current_customers),
    RunCheck("customers' history", ORACLE, partial(_table, SNAPSHOT), needs_whole_history=True),
    RunCheck("set of tables", ORACLE, _set_of_tables),
    RunCheck(
        "published database", PUBLISHED, lambda evidence: checks.published_database(evidence.folder)
    ),
    RunCheck(
        "published Parquet", PUBLISHED, lambda evidence: checks.published_parquet(evidence.folder)
    ),
    RunCheck("dashboard", PUBLISHED, lambda evidence: checks.incomplete_dashboard(evidence.folder)),
    RunCheck("run succeeded", STEPS, _run_succeeded),
    RunCheck("intervals ended as expected", STEPS, _intervals_ended),
    RunCheck("history names every interval", STEPS, _history_is_complete),
    RunCheck("steps ran", STEPS, _steps_ran),
    RunCheck("steps in order", STEPS, _steps_in_order),
)
