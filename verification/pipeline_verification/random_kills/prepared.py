"""The folders that every kill starts from, and what the killed day must lead to."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.files.paths import remove
from ecommerce_pipeline.harness import run_record
from ecommerce_pipeline.harness.variant import STEP_SERVER, pipeline_file
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.published import Manifest
from pipeline_verification import checks
from pipeline_verification.compare import Difference, report
from pipeline_verification.harness.control import advance_source, interval_of
from pipeline_verification.harness.environments import CONTROL, variant_folder
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import parse_history
from pipeline_verification.oracle.source_state import SourceState
from pipeline_verification.random_kills.draw import RESUME, Draw, Timetable
from pipeline_verification.random_kills.reader import read_once
from pipeline_verification.random_kills.victims import Member, steps_at_work
from pipeline_verification.verdict import ORACLE, PUBLISHED, RUN_CHECKS, FinishedRunEvidence

DATASET = "synthetic"
SCALE = 1
DAYS = ("2025-01-01", "2025-01-02")
TIMEOUT_SECONDS = 600.0
# What a day changes below a run's folder, apart from a tool's own files.
_OF_A_DAY = (
    "source.db*",
    "landing",
    "warehouse.duckdb*",
    "published",
    ".published",
    "dashboard",
    "notifications.jsonl",
    "dbt",
    "run.json",
    "logs/steps.jsonl",
    *(f"logs/{day}" for day in DAYS),
)


@dataclass(frozen=True)
class Control:
    """The control's commands, in the Python of its environment and in a form."""

    python: Path
    form: str = STEP_SERVER

    def pipeline(self) -> list[str]:
        """The pipeline for the second day, as cron starts it."""
        file = pipeline_file(variant_folder(CONTROL), self.form)
        return [str(self.python), str(file), DAYS[1]]

    def run(self, run: RunDirectory, days: int, *options: str) -> list[str]:
        """``run.py`` for the first days, with further options."""
        script = variant_folder(CONTROL) / "run.py"
        data = ("--dataset", DATASET, "--scale", str(SCALE), "--days", str(days))
        options = ("--form", self.form, *options)
        return [str(self.python), str(script), *data, "--run-dir", str(run.path), *options]

    def environment(self, run: RunDirectory) -> dict[str, str]:
        """The environment of these commands."""
        return {**stated_environment(), "PIPELINE_RUN_DIR": str(run.path)}


@dataclass(frozen=True)
class PreparedDay:
    """A run of two days, up to the second.

    Attributes:
        first_day: the folder after the first day, the source at its end.
        before: the same with the source at the end of the second day.
        uninterrupted: ``before`` after an undisturbed second day of the control.
        timetable: that of this day.
        resumed: that of ``run.py --resume`` from ``first_day``; None where it is not asked for.
    """

    first_day: RunDirectory
    before: RunDirectory
    uninterrupted: RunDirectory
    timetable: Timetable
    resumed: Timetable | None

    @classmethod
    def prepare(cls, folder: Path, control: Control, modes: Collection[str]) -> PreparedDay:
        """Run the first day, and the second without interruption, in a folder that is replaced.

        Args:
            folder: gets the folders.
            control: the control's commands.
            modes: how the day will be killed, see ``Draw``.

        Raises:
            RuntimeError: a day failed, or the uninterrupted one is not that of the oracle.
        """
        remove(folder, missing_ok=True)
        names = ("first_day", "before", "uninterrupted", "resumed")
        first, before, after, resumed = (RunDirectory(folder / name) for name in names)
        first.path.mkdir(parents=True)
        _run(control.run(first, 1), control.environment(first))
        copy(first, before.path)
        url = f"sqlite:///{before.source_file}"
        advance_source(url, load_dataset(DATASET, scale=SCALE), DAYS[1])
        copy(before, after.path)
        timetable = _timed(control.pipeline(), control, after)
        if problems := unlike_the_oracle(after):
            raise RuntimeError(f"an undisturbed day of the control is wrong: {report(problems)}")
        if RESUME not in modes:
            return cls(first, before, after, timetable, None)
        copy(first, resumed.path)
        of_resumed = _timed(control.run(resumed, 2, "--resume"), control, resumed)
        return cls(first, before, after, timetable, of_resumed)

    def timetable_of(self, draw: Draw) -> Timetable:
        """The timetable of the day that a draw kills."""
        return self.resumed if draw.mode == RESUME and self.resumed else self.timetable

    @property
    def interval(self) -> DataInterval:
        """The day that is interrupted."""
        return interval_of(DAYS[1])

    @cached_property
    def manifests(self) -> list[Manifest]:
        """The two whole versions of the published copy."""
        folders = (self.before, self.uninterrupted)
        return [Manifest.read(run.published.resolve()) for run in folders]

    def versions(self) -> dict[str, str]:
        """The versions of what the control ran on."""
        return dict(run_record.read(self.first_day.record)["versions"])

    def has_begun(self, run: RunDirectory, step: str) -> bool:
        """Whether a step of the day has begun in a folder that is a copy of this one."""
        return run.step_log(step, self.interval).exists()

    def at_work(self, run: RunDirectory, found: Sequence[Member]) -> list[str]:
        """The steps at work in such a folder, by their processes or by their logs."""
        steps = set(steps_at_work(found))
        for name in STEP_NAMES:
            log = run.step_log(name, self.interval)
            if log.exists() and log.read_text(errors="replace").rstrip().endswith(" started"):
                steps.add(name)
        return [name for name in STEP_NAMES if name in steps]

    def reset(self, run: RunDirectory) -> None:
        """Bring a folder of a running tool, in which no step is at work, to before the day."""
        for pattern in _OF_A_DAY:
            for found in run.path.glob(pattern):
                remove(found)
        for pattern in _OF_A_DAY:
            for found in self.before.path.glob(pattern):
                target = run.path / found.relative_to(self.before.path)
                if found.is_symlink():
                    target.symlink_to(found.readlink())
                elif found.is_dir():
                    shutil.copytree(found, target, symlinks=True)
                else:
                    shutil.copy2(found, target)

    def differences(self, run: RunDirectory) -> list[Difference]:
        """How a recovered run differs from the uninterrupted one, and so from the oracle.

        The uninterrupted one equals the oracle: ``prepare`` has checked it. Parquet files are
        compared by the checksum of their rows.
        """
        found = checks.other_run(run, self.uninterrupted)
        found += [Difference("published", text) for text in read_once(run, [self.manifests[-1]])]
        if page(run) != page(self.uninterrupted):
            found.append(Difference("dashboard", "is not that of the uninterrupted day"))
        return found


def unlike_the_oracle(run: RunDirectory) -> list[object]:
    """How a run of both days differs from the oracle, and its published copy from its warehouse."""
    history = parse_history(
        [e for day in DAYS for e in ({"advance": day}, {"interval": str(interval_of(day))})]
    )
    expected = expected_tables(SourceState(load_dataset(DATASET, scale=SCALE)), history)
    evidence = FinishedRunEvidence(run, SUCCESS, history, runs=[], expected=expected)
    of_data = [check for check in RUN_CHECKS if check.group in (ORACLE, PUBLISHED)]
    return [problem for check in of_data for problem in check.problems(evidence)]


def page(run: RunDirectory) -> str:
    """The dashboard without its section on the run, in which times differ."""
    text = run.dashboard.read_text(encoding="utf-8")
    return re.sub(r'<section[^>]* aria-labelledby="run">.*?</section>', "", text, flags=re.S)


def copy(run: RunDirectory, folder: Path) -> RunDirectory:
    """A copy of a run's folder at a new place."""
    shutil.copytree(run.path, folder, symlinks=True)
    return RunDirectory(folder)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"an undisturbed day of the control failed: {done.stdout}{done.stderr}")


def _timed(command: Sequence[str], control: Control, run: RunDirectory) -> Timetable:
    begun = time.monotonic()
    _run(command, control.environment(run))
    return Timetable.of(time.monotonic() - begun, journal.read(run, interval_of(DAYS[1])))
