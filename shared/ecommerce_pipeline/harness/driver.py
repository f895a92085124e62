"""One driver for every variant: it makes the source, triggers intervals, waits and records."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ecommerce_pipeline import source
from ecommerce_pipeline.context import RunSettings, StepContext
from ecommerce_pipeline.datasets import Dataset, advance, load_dataset, reset_source
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.harness import run_record
from ecommerce_pipeline.harness.postgres_server import running_server
from ecommerce_pipeline.harness.progress import Progress
from ecommerce_pipeline.harness.run_record import RunRecord
from ecommerce_pipeline.harness.variant import Variant, started
from ecommerce_pipeline.interval import DAY, DataInterval, days
from ecommerce_pipeline.interval_run import FAILED, SUCCESS, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import journal

NO_DATASET = "none"
DAILY, BACKFILL = "daily", "backfill"
SQLITE, POSTGRES = "sqlite", "postgres"
PACKAGES = ("dbt-core", "dbt-duckdb", "duckdb", "pandas", "pyarrow")


@dataclass(frozen=True, slots=True)
class Options:
    """The command's options.

    Attributes:
        run_dir: the run's folder; made anew unless ``resume``.
        dataset: a name of ``DATASET_NAMES``, or ``none`` for an existing database.
        scale: the synthetic data set's size.
        seed: the synthetic data set's seed.
        start: the first day; None means the data set's first.
        days: how many daily intervals.
        mode: ``daily`` or ``backfill``.
        source: ``sqlite``, ``postgres`` or the URL of an existing database.
        keep_up: leave the tool's pages up until Ctrl+C.
        resume: go on in the folder as it is.
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


def drive(variant: Variant, options: Options, progress: Progress) -> RunRecord:
    """Run the variant over the options' intervals and write ``run.json`` after each trigger.

    ``daily`` advances the source day by day and triggers each interval; ``backfill`` advances it
    to the end, then hands all intervals to the tool's own backfill.

    Raises:
        PipelineError: an option does not fit, or the source or the tool cannot be started.
    """
    dataset, intervals = plan(options)
    run = RunDirectory(options.run_dir)
    run.path.mkdir(parents=True, exist_ok=True)
    with exclusive(run.driver_lock):
        history = _history(run) if options.resume else []
        if not options.resume:
            run.clear()
        the_record = _new_record(variant, options, dataset, history)
        the_record.write(run.record)
        try:
            with _source_url(options, run) as source_url:
                if dataset is not None and not options.resume:
                    with closing(source.connect(source_url)) as database:
                        reset_source(database)
                settings = _settings(run, source_url, intervals[0])
                with started(variant, settings, progress.say):
                    _run_all(variant, settings, dataset, intervals, the_record, progress=progress)
                    if options.keep_up:
                        _conclude(the_record, run, len(intervals), progress)
                        progress.wait_for_interrupt(variant.addresses)
        finally:
            _conclude(the_record, run, len(intervals), progress)
    return the_record


def plan(options: Options) -> tuple[Dataset | None, list[DataInterval]]:
    """The data set, None for an existing database, and the intervals that the options ask for.

    Raises:
        PipelineError: an option does not fit.
    """
    dataset = _dataset(options)
    return dataset, list(days(_start(options, dataset), options.days))


def _run_all(
    variant: Variant,
    settings: RunSettings,
    dataset: Dataset | None,
    intervals: Sequence[DataInterval],
    the_record: RunRecord,
    *,
    progress: Progress,
) -> None:
    """Advance and trigger until all is done or something failed."""
    backfill = the_record.mode == BACKFILL
    for batch in [intervals] if backfill else [[interval] for interval in intervals]:
        if dataset is not None:
            day = batch[-1].start.date()
            the_record.history.append(_advance(settings, dataset, day, progress))
        with progress.following(settings.run, batch):
            runs = variant.backfill(batch) if backfill else [variant.run_interval(batch[0])]
        _note(the_record, settings.run, runs)
        if any(run.state != SUCCESS for run in runs):
            return


def _advance(
    settings: RunSettings, dataset: Dataset, day: date, progress: Progress
) -> dict[str, str]:
    """Bring the source to the end of a day; the history's entry for it."""
    with closing(source.connect(settings.source_url)) as database:
        reached = advance(database, dataset, day, progress.source_advanced)
    return {"advance": reached.isoformat()}


def _note(the_record: RunRecord, run: RunDirectory, runs: Sequence[IntervalRun]) -> None:
    for interval_run in runs:
        the_record.intervals.append(_with_rows(run, interval_run))
        the_record.history.append({"interval": interval_run.interval, "state": interval_run.state})
    the_record.write(run.record)


def _with_rows(run: RunDirectory, interval_run: IntervalRun) -> IntervalRun:
    """Add each step's rows, which the step itself noted in the journal."""
    rows = {
        entry.step: entry.rows
        for entry in journal.read(run, interval_run.interval)
        if entry.outcome == SUCCESS
    }
    steps = tuple(replace(step, rows=rows.get(step.name, {})) for step in interval_run.steps)
    return replace(interval_run, steps=steps)


def _conclude(the_record: RunRecord, run: RunDirectory, expected: int, progress: Progress) -> None:
    """Write the outcome and tell it, once."""
    if the_record.ended_at is not None:
        return
    states = [interval_run.state for interval_run in the_record.intervals]
    the_record.state = SUCCESS if states == [SUCCESS] * expected else FAILED
    the_record.ended_at = datetime.now(UTC)
    the_record.write(run.record)
    progress.summary(the_record, run)


def _new_record(
    variant: Variant,
    options: Options,
    dataset: Dataset | None,
    history: list[dict[str, str]],
) -> RunRecord:
    installed = {package: version(package) for package in (*PACKAGES, *variant.packages)}
    return RunRecord(
        variant=variant.name,
        versions={"python": platform.python_version(), **installed},
        dataset={"name": options.dataset, "options": dict(dataset.options) if dataset else {}},
        source=source.redact(options.source),
        mode=options.mode,
        started_at=datetime.now(UTC),
        history=history,
    )


def _history(run: RunDirectory) -> list[dict[str, str]]:
    values: Mapping[str, Any] = run_record.read(run.record)
    return list(values["history"])


def _dataset(options: Options) -> Dataset | None:
    if options.dataset != NO_DATASET:
        return load_dataset(options.dataset, seed=options.seed, scale=options.scale)
    if options.source in (SQLITE, POSTGRES):
        raise PipelineError(
            "--dataset none uses an existing database, but --source names none",
            "give its URL with --source, such as sqlite:////data/shop.db",
        )
    return None


def _start(options: Options, dataset: Dataset | None) -> date:
    if dataset is None:
        if options.start is None:
            raise PipelineError(
                "--dataset none does not know the first day", "give it with --start YYYY-MM-DD"
            )
        return options.start
    start = options.start or dataset.first_day
    last = start + (options.days - 1) * DAY
    if start < dataset.first_day or (dataset.last_day is not None and last > dataset.last_day):
        raise PipelineError(
            f"the data set {dataset.name} has no data for {start} to {last}",
            f"give days from {dataset.first_day} to {dataset.last_day or 'any later one'}",
        )
    return start


@contextmanager
def _source_url(options: Options, run: RunDirectory) -> Iterator[str]:
    """The source's URL, with a server of our own behind it where the options ask for one."""
    if options.source == SQLITE:
        yield f"sqlite:///{run.source_file}"
    elif options.source == POSTGRES:
        with running_server(run.postgres_data) as url:
            yield url
    else:
        yield options.source


def _settings(run: RunDirectory, source_url: str, first: DataInterval) -> RunSettings:
    """The settings of the tool; webhook and staleness come from the environment."""
    environment = {**os.environ, "PIPELINE_RUN_DIR": str(run.path)}
    context = StepContext.from_environment(first, environment)
    return RunSettings(
        run=run,
        source_url=source_url,
        slack_webhook_url=context.slack_webhook_url,
        max_staleness=context.max_staleness,
    )
