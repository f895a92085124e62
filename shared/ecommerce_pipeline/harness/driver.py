"""Runs any variant as its options say: source, tool, intervals, run record."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import Dataset, load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.harness import run_record
from ecommerce_pipeline.harness.progress import Progress
from ecommerce_pipeline.harness.run_record import RunRecord
from ecommerce_pipeline.harness.run_session import (
    POSTGRES,
    SQLITE,
    Observe,
    RunSession,
    empty_source,
    running_source,
)
from ecommerce_pipeline.harness.variant import NATIVE, Variant, started
from ecommerce_pipeline.interval import DataInterval, days, days_after
from ecommerce_pipeline.interval_run import FAILED, SUCCESS, interval_run_from_json
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source import redact

NO_DATASET = "none"
DAILY, BACKFILL = "daily", "backfill"
ORPHAN_SECONDS = 120.0
PACKAGES = ("dbt-core", "dbt-duckdb", "duckdb", "pandas", "pyarrow")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The command's options.

    Attributes:
        run_dir: the run's folder; emptied first unless ``resume``.
        dataset: a name of ``DATASET_NAMES``, or ``none`` for an existing database.
        scale: the synthetic data set's size.
        seed: the synthetic data set's seed.
        start: the first day; None means the data set's first.
        days: how many daily intervals.
        mode: ``daily`` or ``backfill``.
        source: ``sqlite``, ``postgres`` or the URL of an existing database.
        keep_up: leave the tool's pages up until Ctrl+C.
        resume: keep the folder, and run those intervals that have not succeeded in it.
        form: the form of the variant's pipeline.
        lookback: ``RunSettings.lookback``; None takes it from the environment.
        max_key_loss: ``RunSettings.max_key_loss``; None takes it from the environment.
    """

    run_dir: Path
    dataset: str = "synthetic"
    scale: int = 1
    seed: int = 1
    start: date | None = None
    days: int = 3
    mode: str = DAILY
    source: str = SQLITE
    keep_up: bool = False
    resume: bool = False
    form: str = NATIVE
    lookback: int | None = None
    max_key_loss: float | None = None


def drive(variant: Variant, options: RunOptions, progress: Progress) -> RunRecord:
    """Run the variant over the options' intervals and write ``run.json`` after each trigger.

    ``daily`` advances the source day by day and triggers each interval; ``backfill`` advances it
    to the end, then hands all intervals to the tool's own backfill.

    Raises:
        PipelineError: an option does not fit, or the source or the tool cannot be started.
    """
    dataset, intervals = plan(options)
    run = RunDirectory(options.run_dir)
    if options.resume:
        run_record.read(run.record)  # before the folder, or a lock in it, is made
    else:
        run.refuse_foreign()
    _settings(run, options.source, options)  # a malformed one is refused before anything is removed
    run.make()
    with exclusive(run.driver_lock):
        record = _new_record(variant, options, dataset)
        if options.resume:
            # A pipeline outlives its driver that was killed; its interval must have ended.
            with exclusive(run.lock, wait_seconds=ORPHAN_SECONDS):
                _continue(record, run_record.read(run.record), run.record)
        else:
            run.clear()
        record.write(run.record)
        done = {interval_run.interval for interval_run in record.intervals}
        due = [interval for interval in intervals if str(interval) not in done]
        expected = len(record.intervals) + len(due)
        try:
            with running_source(options.source, run) as source_url:
                if dataset is not None and not options.resume:
                    empty_source(source_url)
                settings = _settings(run, source_url, options)
                session = RunSession(
                    variant,
                    settings,
                    dataset,
                    # The record's own lists: what the session appends is in the record.
                    history=record.history,
                    runs=record.intervals,
                    day_reached=progress.source_advanced,
                    observe=_observer(record, run, progress),
                )
                with started(variant, settings, progress.say):
                    _run_all(session, due, options.mode)
                    if options.keep_up:
                        _conclude(record, run, expected, progress)
                        progress.wait_for_interrupt(variant.addresses)
        except BaseException:
            # Also after an error or Ctrl+C: a record must not stay in the state `running`.
            with suppress(PipelineError):  # the first error is the one to report
                _conclude(record, run, expected, progress)
            raise
        _conclude(record, run, expected, progress)
    return record


def plan(options: RunOptions) -> tuple[Dataset | None, list[DataInterval]]:
    """The data set, None for an existing database, and the intervals that the options ask for.

    Raises:
        PipelineError: an option does not fit.
    """
    if not options.source:
        raise PipelineError("--source is empty", "name a source, or leave the option out")
    dataset = _dataset(options)
    return dataset, list(days(_start(options, dataset), options.days))


def _run_all(session: RunSession, intervals: Sequence[DataInterval], mode: str) -> None:
    """Advance and trigger until everything is done or a run failed."""
    if not intervals:
        return
    if mode == BACKFILL:
        session.advance(intervals[-1].start.date())
        session.backfill(intervals)
    else:
        session.run_day_by_day(intervals)


def _observer(record: RunRecord, run: RunDirectory, progress: Progress) -> Observe:
    """Shows a trigger's steps while they run and writes the record when they have ended."""

    @contextmanager
    def observe(intervals: Sequence[DataInterval]) -> Iterator[None]:
        with progress.following(run, intervals):
            yield
        record.write(run.record)

    return observe


def _conclude(record: RunRecord, run: RunDirectory, expected: int, progress: Progress) -> None:
    """Write and print the outcome; a second call does nothing."""
    if record.ended_at is not None:
        return
    states = [interval_run.state for interval_run in record.intervals]
    record.state = SUCCESS if states == [SUCCESS] * expected else FAILED
    record.ended_at = datetime.now(UTC)
    record.write(run.record)
    progress.summary(record, run)


def _new_record(
    variant: Variant,
    options: RunOptions,
    dataset: Dataset | None,
) -> RunRecord:
    installed = {package: version(package) for package in (*PACKAGES, *variant.packages)}
    return RunRecord(
        variant=variant.name,
        form=variant.form,
        versions={"python": platform.python_version(), **installed},
        dataset={"name": options.dataset, "options": dict(dataset.options) if dataset else {}},
        source=redact(options.source),
        mode=options.mode,
        started_at=datetime.now(UTC),
    )


def _continue(record: RunRecord, before: Mapping[str, Any], path: Path) -> None:
    """Take over the history of the folder's earlier run, and the intervals that succeeded in it.

    Raises:
        PipelineError: the folder has another data set.
    """
    # The source has reached another day by now: to run a day again that has succeeded would see
    # the source as it was on no day.
    if before["dataset"] != record.dataset:
        raise PipelineError(
            f"{path} was made with the data set {_shown(before['dataset'])}, not with"
            f" {_shown(record.dataset)}",
            "resume with the same data set, or start again without --resume",
        )
    last_states = {
        event["interval"]: event["state"] for event in before["history"] if "interval" in event
    }
    runs = {run["interval"]: interval_run_from_json(run) for run in before["intervals"]}
    record.history += before["history"]
    record.intervals += [
        run for interval, run in runs.items() if last_states.get(interval) == run.state == SUCCESS
    ]


def _shown(dataset: Mapping[str, Any]) -> str:
    options = [f"{name} {value}" for name, value in sorted(dataset["options"].items())]
    return ", ".join([dataset["name"], *options])


def _dataset(options: RunOptions) -> Dataset | None:
    if options.dataset != NO_DATASET:
        return load_dataset(options.dataset, seed=options.seed, scale=options.scale)
    if options.source in (SQLITE, POSTGRES):
        raise PipelineError(
            "--dataset none uses an existing database, but --source names none",
            "give its URL with --source, such as sqlite:////data/shop.db",
        )
    return None


def _start(options: RunOptions, dataset: Dataset | None) -> date:
    if dataset is None:
        if options.start is None:
            raise PipelineError(
                "--dataset none does not know the first day", "give it with --start YYYY-MM-DD"
            )
        return options.start
    start = options.start or dataset.first_day
    last = days_after(start, options.days - 1)
    if start < dataset.first_day or (dataset.last_day is not None and last > dataset.last_day):
        raise PipelineError(
            f"the data set {dataset.name} has no data for {start} to {last}",
            f"give days from {dataset.first_day} to {dataset.last_day or 'any later one'}",
        )
    return start


def _settings(run: RunDirectory, source_url: str, options: RunOptions) -> RunSettings:
    """The settings of the tool; what the options do not name comes from the environment."""
    ours = {"PIPELINE_RUN_DIR": str(run.path), "PIPELINE_SOURCE_URL": source_url}
    if options.lookback is not None:
        ours["PIPELINE_LOOKBACK"] = str(options.lookback)
    if options.max_key_loss is not None:
        ours["PIPELINE_MAX_KEY_LOSS"] = str(options.max_key_loss)
    return RunSettings.from_environment({**os.environ, **ours})
