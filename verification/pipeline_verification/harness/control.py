"""Runs the control as cron would start it: a form of its pipeline in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from ecommerce_pipeline import source
from ecommerce_pipeline.datasets import Dataset, advance, reset_source
from ecommerce_pipeline.harness.variant import STEP_SERVER, pipeline_file
from ecommerce_pipeline.interval import DataInterval, parse_day
from ecommerce_pipeline.specification import longest_run_seconds
from pipeline_verification.harness.environments import ROOT

FOLDER = ROOT / "cron_impl"
PIPELINE = pipeline_file(FOLDER, STEP_SERVER)  # the faster form


def fill_source(url: str, dataset: Dataset, to_day: str) -> None:
    """Empty the source and bring it to the end of a UTC day, such as ``2025-01-01``."""
    with closing(source.connect(url)) as database:
        reset_source(database)
        advance(database, dataset, parse_day(to_day))


def advance_source(url: str, dataset: Dataset, to_day: str) -> None:
    """Bring an existing source to the end of a later UTC day."""
    with closing(source.connect(url)) as database:
        advance(database, dataset, parse_day(to_day))


def start_control(
    run_dir: Path,
    *intervals: str,
    environment: Mapping[str, str] | None = None,
    form: str = STEP_SERVER,
) -> subprocess.Popen[str]:
    """Start the pipeline for the intervals.

    The source is the run folder's ``source.db``, unless ``environment`` names another.
    """
    return subprocess.Popen(
        [sys.executable, str(pipeline_file(FOLDER, form)), *intervals],
        env={**os.environ, "PIPELINE_RUN_DIR": str(run_dir), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_control(
    run_dir: Path,
    *intervals: str,
    environment: Mapping[str, str] | None = None,
    form: str = STEP_SERVER,
) -> subprocess.CompletedProcess[str]:
    """Run the pipeline for the intervals and wait for its end.

    Raises:
        subprocess.TimeoutExpired: it did not end in the time that its steps have.
    """
    with start_control(run_dir, *intervals, environment=environment, form=form) as process:
        try:
            output, errors = process.communicate(timeout=longest_run_seconds(len(intervals) or 1))
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def interval_of(day: str) -> DataInterval:
    """The UTC day's interval."""
    return DataInterval.for_day(parse_day(day))
