"""What is asked of a run that is over; an empty list says that it holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SKIPPED, SUCCESS, IntervalRun, StepRun
from ecommerce_pipeline.reporting import formatting
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_BY_NAME, STEP_NAMES, STEPS
from pipeline_verification.compare import Difference, compare, compare_table, table_names

SNAPSHOT = "snapshots.snap_customers"
READERS_SCHEMAS = ("marts", "snapshots")
DATABASE = "warehouse.duckdb"
_SHOWN_FAULTS = 3
_SHOWN_LETTERS = 600

Tables = Mapping[str, pa.Table]


@dataclass(frozen=True, slots=True)
class Check:
    """Whether something holds, and what was seen: a fact, or else the first faults."""

    passed: bool
    detail: str

    @classmethod
    def of(cls, faults: Sequence[object], fact: str) -> Check:
        """A check that passed where there are no faults."""
        if not faults:
            return cls(True, fact)
        texts = [str(fault)[:_SHOWN_LETTERS] for fault in faults[:_SHOWN_FAULTS]]
        more = len(faults) - _SHOWN_FAULTS
        return cls(False, "\n".join([*texts, *([f"and {more} more"] if more > 0 else [])]))


def against_oracle(
    run: RunDirectory, expected: Tables, *, whole_history: bool = True
) -> list[Difference]:
    """In what the warehouse differs from the oracle: every table, every column, every row.

    Args:
        run: the run's folder.
        expected: the oracle's tables.
        whole_history: False compares of the customers' history the current versions alone.
    """
    found = table_names(run.warehouse)
    extra = [Difference(name, "the oracle knows no such table") for name in found - expected.keys()]
    differences = sorted(extra, key=str)
    for name, rows in expected.items():
        if name == SNAPSHOT and not whole_history:
            differences += current_customers(run, rows)
        else:
            differences += compare_table(run.warehouse, name, rows)
    return differences


def current_customers(run: RunDirectory, versions: pa.Table) -> list[Difference]:
    """In what the snapshot's current versions differ from those of the oracle."""
    current = versions.filter(pc.is_null(versions["dbt_valid_to"]))
    return compare_table(run.warehouse, SNAPSHOT, current, where="dbt_valid_to IS NULL")


def against(run: RunDirectory, other: RunDirectory) -> list[Difference]:
    """In what the warehouses and the published copies of two runs differ."""
    return [
        *compare(run.warehouse, other.warehouse),
        *compare(run.published / DATABASE, other.published / DATABASE),
    ]


def published_database(run: RunDirectory) -> list[Difference]:
    """In what the readers' DuckDB file differs from the warehouse; it holds nothing else."""
    copy = run.published / DATABASE
    extra = table_names(copy) - table_names(copy, READERS_SCHEMAS)
    return [
        *compare(run.warehouse, copy, schemas=READERS_SCHEMAS),
        *(Difference(name, "is not for readers") for name in sorted(extra)),
    ]


def published_parquet(run: RunDirectory) -> list[Difference]:
    """In what the readers' Parquet files, one for each table, differ from the warehouse."""
    files = {
        f"{file.parent.name}.{file.stem}": file
        for file in run.published.resolve().glob("*/*.parquet")
    }
    tables = table_names(run.warehouse, READERS_SCHEMAS)
    odd = sorted(files.keys() ^ tables)
    differences = [Difference(name, "is not both a table and a Parquet file") for name in odd]
    for name in sorted(files.keys() & tables):
        rows = pq.read_table(files[name])
        differences += compare_table(run.warehouse, name, rows, label=str(files[name]))
    return differences


def whole_dashboard(run: RunDirectory) -> list[str]:
    """Whether the dashboard is a page from its beginning to its end."""
    page = run.dashboard.read_text(encoding="utf-8").strip().lower()
    if page.startswith("<!doctype html>") and page.endswith("</html>"):
        return []
    return [f"{run.dashboard} is not a whole page"]


def published(run: RunDirectory) -> list[object]:
    """In what anything that readers see differs from the warehouse."""
    return [*published_database(run), *published_parquet(run), *whole_dashboard(run)]


def readers_view(run: RunDirectory) -> dict[str, str]:
    """What readers see, byte for byte: the digest of each published file and of the dashboard."""
    files = {str(file): file for file in sorted(run.published.resolve().rglob("*"))}
    return {
        name: sha256(file.read_bytes()).hexdigest()
        for name, file in {**files, "dashboard": run.dashboard}.items()
        if file.is_file()
    }


def steps_ran(run: IntervalRun) -> list[str]:
    """In what a successful run differs from: each specified step ran once and succeeded."""
    times = Counter(step.name for step in run.steps)
    faults = [f"{name} ran {times[name]} times" for name in STEP_NAMES if times[name] != 1]
    faults += [f"{name} is not specified" for name in times if name not in STEP_BY_NAME]
    faults += [
        f"{step.name} is {step.state} after {step.attempts} attempts"
        for step in run.steps
        if step.state != SUCCESS or step.attempts < 1
    ]
    return _of_interval(run, faults)


def steps_in_order(run: IntervalRun) -> list[str]:
    """Which steps started before a step that they wait for had ended."""
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
    """In what a run differs from: all went well up to the step, which failed, and nothing after."""
    before = set(upstream_of(name))
    steps = {step.name: step for step in run.steps}
    faults = [
        f"{step} did not succeed" for step in before if step not in steps or not _good(steps[step])
    ]
    failed = steps.get(name)
    if failed is None or failed.state == SUCCESS or failed.attempts != 1:
        faults.append(f"{name} did not fail at its only attempt: {failed}")
    after = [step for step in run.steps if step.name not in {*before, name}]
    faults += [f"{step.name} ran after the failure of {name}" for step in after if _has_run(step)]
    return _of_interval(run, sorted(faults))


def upstream_of(name: str) -> list[str]:
    """Every step that must have ended before a step, in the order of the specification."""
    direct = STEP_BY_NAME[name].upstream
    found = {*direct, *(earlier for step in direct for earlier in upstream_of(step))}
    return [step for step in STEP_NAMES if step in found]


def told(
    payloads: Iterable[Mapping[str, Any]], runs: Iterable[tuple[str, str | None]]
) -> list[str]:
    """In what the messages that arrived differ from: exactly one of each run.

    Args:
        payloads: what arrived at the webhook.
        runs: of each run its interval and the step at which it failed, None where it succeeded.
    """
    arrived = Counter(str(payload["text"]) for payload in payloads)
    due = Counter(_message(DataInterval.parse(interval), step) for interval, step in runs)
    return [
        f"{text!r} arrived {arrived[text]} times, not {due[text]}"
        for text in sorted(arrived | due)
        if arrived[text] != due[text]
    ]


def size(warehouse: Path) -> str:
    """How much there was to compare, in words."""
    names = sorted(table_names(warehouse))
    with duckdb.connect(warehouse, read_only=True) as connection:
        counts = [connection.table(name).count("*").fetchall()[0][0] for name in names]
    return f"{len(names)} tables, {sum(counts):,} rows"


def _message(interval: DataInterval, failed_step: str | None) -> str:
    if failed_step is None:
        return f"✅ Pipeline succeeded: {formatting.interval(interval)}"
    return f"❌ Pipeline failed: {formatting.interval(interval)} ({failed_step})"


def _of_interval(run: IntervalRun, faults: Iterable[str]) -> list[str]:
    return [f"{DataInterval.parse(run.interval).label}: {fault}" for fault in faults]


def _good(step: StepRun) -> bool:
    return step.state == SUCCESS and step.attempts >= 1


def _has_run(step: StepRun) -> bool:
    return step.state != SKIPPED


def _in_order(upstream: StepRun, step: StepRun) -> bool:
    return (
        upstream.ended_at is not None
        and step.started_at is not None
        and upstream.ended_at <= step.started_at
    )
