"""The questions about a finished run; each returns the problems that it finds, none when right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SKIPPED, SUCCESS, IntervalRun, StepRun
from ecommerce_pipeline.reporting import formatting
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_BY_NAME, STEP_NAMES, STEPS
from ecommerce_pipeline.storage.duckdb_connection import connect_duckdb
from pipeline_verification.compare import Difference, compare, compare_table, table_names

SNAPSHOT = "snapshots.snap_customers"
PUBLISHED_SCHEMAS = ("marts", "snapshots")
DATABASE = "warehouse.duckdb"
_SHOWN_PROBLEMS = 3
_SHOWN_LETTERS = 600

Tables = Mapping[str, pa.Table]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check.

    Attributes:
        passed: whether there was no problem.
        detail: what was checked, such as ``13 tables, 512 rows``; or else the first problems.
    """

    passed: bool
    detail: str

    @classmethod
    def of(cls, problems: Sequence[object], detail: str) -> Check:
        """A check that passed, with this detail, when there are no problems."""
        if not problems:
            return cls(True, detail)
        texts = [str(problem)[:_SHOWN_LETTERS] for problem in problems[:_SHOWN_PROBLEMS]]
        more = len(problems) - _SHOWN_PROBLEMS
        return cls(False, "\n".join([*texts, *([f"and {more} more"] if more > 0 else [])]))


def unexpected_tables(run: RunDirectory, expected: Tables) -> list[Difference]:
    """The warehouse's tables that the oracle does not have."""
    extra = table_names(run.warehouse) - expected.keys()
    return [Difference(name, "the oracle has no such table") for name in sorted(extra)]


def current_customers(run: RunDirectory, versions: pa.Table) -> list[Difference]:
    """How the snapshot's current versions differ from those of the oracle."""
    current = versions.filter(pc.is_null(versions["dbt_valid_to"]))
    return compare_table(run.warehouse, SNAPSHOT, current, where="dbt_valid_to IS NULL")


def warehouses(run: RunDirectory, other: RunDirectory) -> list[Difference]:
    """How the warehouses of two runs differ."""
    return compare(run.warehouse, other.warehouse)


def published_databases(run: RunDirectory, other: RunDirectory) -> list[Difference]:
    """How the published DuckDB files of two runs differ."""
    return compare(run.published / DATABASE, other.published / DATABASE)


def other_run(run: RunDirectory, other: RunDirectory) -> list[Difference]:
    """How the warehouses and the published copies of two runs differ."""
    return [*warehouses(run, other), *published_databases(run, other)]


def published_database(run: RunDirectory) -> list[Difference]:
    """How the published DuckDB file differs from the warehouse; it has no further table."""
    copy = run.published.resolve() / DATABASE  # once, as it is opened several times
    extra = table_names(copy) - table_names(copy, PUBLISHED_SCHEMAS)
    return [
        *compare(run.warehouse, copy, schemas=PUBLISHED_SCHEMAS),
        *(Difference(name, "must not be published") for name in sorted(extra)),
    ]


def published_parquet(run: RunDirectory) -> list[Difference]:
    """How the published Parquet files, one for each table, differ from the warehouse."""
    # `published` is a link that each publication moves: resolved once, all files are of one state.
    files = {
        f"{file.parent.name}.{file.stem}": file
        for file in run.published.resolve().glob("*/*.parquet")
    }
    tables = table_names(run.warehouse, PUBLISHED_SCHEMAS)
    odd = sorted(files.keys() ^ tables)
    differences = [Difference(name, "is not both a table and a Parquet file") for name in odd]
    for name in sorted(files.keys() & tables):
        rows = pq.read_table(files[name])
        differences += compare_table(run.warehouse, name, rows, label=str(files[name]))
    return differences


def incomplete_dashboard(run: RunDirectory) -> list[str]:
    """Whether the dashboard is anything but a whole HTML page."""
    page = run.dashboard.read_text(encoding="utf-8").strip().lower()
    if page.startswith("<!doctype html>") and page.endswith("</html>"):
        return []
    return [f"{run.dashboard} is not a whole page"]


def published_digests(run: RunDirectory) -> dict[str, str]:
    """The SHA-256 of each published file and of the dashboard, by file."""
    files = {str(file): file for file in sorted(run.published.resolve().rglob("*"))}
    return {
        name: sha256(file.read_bytes()).hexdigest()
        for name, file in {**files, "dashboard": run.dashboard}.items()
        if file.is_file()
    }


def steps_ran(run: IntervalRun) -> list[str]:
    """How a run differs from one in which each specified step ran once and succeeded."""
    times = Counter(step.name for step in run.steps)
    problems = [f"{name} ran {times[name]} times" for name in STEP_NAMES if times[name] != 1]
    problems += [
        f"{name} is no step of the specification" for name in times if name not in STEP_BY_NAME
    ]
    # A tool can report success without an attempt: from a cache, or set by hand.
    problems += [
        f"{step.name} is {step.state} after {step.attempts} attempts"
        for step in run.steps
        if step.state != SUCCESS or step.attempts < 1
    ]
    return _of_interval(run, problems)


def steps_in_order(run: IntervalRun) -> list[str]:
    """The steps that started before one of their upstream steps had ended."""
    steps = {step.name: step for step in run.steps}
    early = [
        f"{step.name} started before the end of {name}"
        for step in STEPS
        for name in step.upstream
        if {step.name, name} <= steps.keys()
        and _has_run(steps[step.name])
        and not _in_order(steps[name], steps[step.name])
    ]
    return _of_interval(run, early)


def stopped_at(run: IntervalRun, name: str) -> list[str]:
    """How a run differs from one that failed at a step: those before it succeeded, none ran after.

    The failed step has one attempt: a failed data test is never retried.
    """
    before = set(upstream_of(name))
    steps = {step.name: step for step in run.steps}
    problems = [
        f"{step} did not succeed"
        for step in before
        if step not in steps or not _succeeded(steps[step])
    ]
    failed = steps.get(name)
    if failed is None or failed.state == SUCCESS or failed.attempts != 1:
        problems.append(f"{name} did not fail at its only attempt: {failed}")
    after = [step for step in run.steps if step.name not in {*before, name}]
    problems += [f"{step.name} ran after the failure of {name}" for step in after if _has_run(step)]
    return _of_interval(run, sorted(problems))


def upstream_of(name: str) -> list[str]:
    """All direct and indirect upstream steps of a step, in the order of the specification."""
    direct = STEP_BY_NAME[name].upstream
    found = {*direct, *(earlier for step in direct for earlier in upstream_of(step))}
    return [step for step in STEP_NAMES if step in found]


def notified(
    payloads: Iterable[Mapping[str, Any]], runs: Iterable[tuple[str, str | None]]
) -> list[str]:
    """How the notifications that arrived differ from exactly one for each run.

    Args:
        payloads: the JSON bodies that arrived at the webhook.
        runs: each run's interval and the step at which it failed, None when it succeeded.
    """
    arrived = Counter(str(payload["text"]) for payload in payloads)
    due = Counter(_message(DataInterval.parse(interval), step) for interval, step in runs)
    return [
        f"{text!r} arrived {arrived[text]} times, not {due[text]}"
        for text in sorted(arrived | due)
        if arrived[text] != due[text]
    ]


def warehouse_size(warehouse: Path) -> str:
    """The number of tables and rows of a DuckDB file, such as ``13 tables, 512 rows``."""
    names = sorted(table_names(warehouse))
    with connect_duckdb(warehouse, read_only=True) as connection:
        counts = [connection.table(name).count("*").fetchall()[0][0] for name in names]
    return f"{len(names)} tables, {sum(counts):,} rows"


def _message(interval: DataInterval, failed_step: str | None) -> str:
    if failed_step is None:
        return f"✅ Pipeline succeeded: {formatting.interval(interval)}"
    return f"❌ Pipeline failed: {formatting.interval(interval)} ({failed_step})"


def _of_interval(run: IntervalRun, problems: Iterable[str]) -> list[str]:
    return [f"{DataInterval.parse(run.interval).label}: {problem}" for problem in problems]


def _succeeded(step: StepRun) -> bool:
    return step.state == SUCCESS and step.attempts >= 1


def _has_run(step: StepRun) -> bool:
    return step.state != SKIPPED


def _in_order(upstream: StepRun, step: StepRun) -> bool:
    return (
        upstream.ended_at is not None
        and step.started_at is not None
        and upstream.ended_at <= step.started_at
    )
