"""The pipeline all ways: each variant's own command, one after the other, and one table.

python -m pipeline_verification.all_variants --days 3
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.command_line import command_of, run_cli
from ecommerce_pipeline.harness.driver import RunOptions, plan
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, SUCCESS, IntervalRun
from ecommerce_pipeline.reporting import formatting
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification import checks
from pipeline_verification.checks import Check
from pipeline_verification.finished_run import FinishedRun
from pipeline_verification.harness.environments import (
    ROOT,
    interpreter,
    variant_folder,
    variant_names,
)
from pipeline_verification.harness.process_tree import Usage, watched
from pipeline_verification.oracle.history import runs_day_by_day

RUNS = ROOT / "runs"
INTERRUPTED = 130
FindInterpreter = Callable[[str], Path]


@dataclass(slots=True)
class Way:
    """How one variant's run went.

    Attributes:
        name: the variant.
        run: its folder.
        seconds: how long its command took; 0 where it was not started.
        peak_bytes: the most memory that all its processes held at once, shared pages divided.
        finished: what it recorded; None where it did not come so far.
        failure: why it did not succeed, in one line; None when it did.
        oracle: whether everything it left is as computed from the data set.
        control: whether it is as the control left it; None for the control itself.
    """

    name: str
    run: RunDirectory
    seconds: float = 0.0
    peak_bytes: int = 0
    finished: FinishedRun | None = None
    failure: str | None = None
    oracle: Check | None = None
    control: Check | None = None

    @property
    def passed(self) -> bool:
        """Whether it ran to its end and is equal to everything it was compared with."""
        found = [check for check in (self.oracle, self.control) if check is not None]
        return self.failure is None and bool(found) and all(check.passed for check in found)

    @property
    def fault(self) -> str:
        """What is wrong, or an empty text."""
        checked = {"the oracle": self.oracle, "the control": self.control}
        unequal = (
            f"differs from {n}: {c.detail}" for n, c in checked.items() if c and not c.passed
        )
        return self.failure or next(unequal, "")


@dataclass(slots=True)
class AllWays:
    """Runs variants with the same options and compares what they leave.

    Attributes:
        arguments: the options as they were given, without the folder.
        options: the same, read.
        variants: the names; the first is the control.
        find_interpreter: the Python of a variant's environment.
        console: where everything is shown.
    """

    arguments: Sequence[str]
    options: RunOptions
    variants: Sequence[str] = field(default_factory=variant_names)
    find_interpreter: FindInterpreter = interpreter
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    def run(self) -> list[Way]:
        """Run and check one variant after the other; what fails with one does not stop the rest."""
        ways: list[Way] = []
        for name in self.variants:
            self.console.rule(name, align="left", characters="─")
            way = Way(name, RunDirectory(self.options.run_dir / name))
            try:
                self._run_one(way)
                self._prove(way, ways[0] if ways else None)
            except Exception as error:
                way.failure = " ".join(str(error).split()) or type(error).__name__
            if way.fault:
                self.console.print(f"{name}: {way.fault}", markup=False)
            ways.append(way)
        return ways

    def _run_one(self, way: Way) -> None:
        """Run the variant's command and read what it recorded, unless it ended before that.

        Raises:
            PipelineError: its environment is missing.
        """
        script = variant_folder(way.name) / "run.py"
        command = [str(self.find_interpreter(way.name)), str(script), *self.arguments]
        earlier = _written(way.run.record)
        begun = time.monotonic()
        usage, errors = _watch([*command, "--run-dir", str(way.run.path)])
        way.seconds, way.peak_bytes = time.monotonic() - begun, usage.peak_bytes
        if _written(way.run.record) == earlier:
            way.failure = errors[-1].removeprefix("error: ") if errors else "it left no run record"
            return
        way.finished = FinishedRun.read(way.run.path)
        if way.finished.state != SUCCESS:
            way.failure = _why(way.finished, errors)

    def _prove(self, way: Way, control: Way | None) -> None:
        """Hold what the run left against the oracle, and against the control."""
        if way.finished is None or way.failure is not None:
            return
        self.console.print(f"{way.name}: comparing", markup=False)
        run, fact = way.run, checks.size(way.run.warehouse)
        way.oracle = Check.of(_against_oracle(way.finished, self.options.source), fact)
        if control is None:
            return
        missing = control.finished is None or control.failure is not None
        faults = ["there is no control"] if missing else checks.against(run, control.run)
        way.control = Check.of(faults, fact)


def _watch(command: Sequence[str]) -> tuple[Usage, list[str]]:
    """Run a command whose output is shown; what its processes used, and what it said of errors."""
    errors: list[str] = []
    with subprocess.Popen(
        command,
        env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl+C reaches us alone, and we tell it once
    ) as process:
        reader = threading.Thread(target=_repeat, args=[process.stderr, errors])
        reader.start()
        try:
            with watched(process.pid) as usage:
                process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            process.wait()
            reader.join()
    return usage, errors


def _repeat(lines: Iterable[str], kept: list[str]) -> None:
    """Show lines as they come, and keep those that are not empty."""
    for line in lines:
        sys.stderr.write(line)
        if line.strip():
            kept.append(line.strip())


def _written(file: Path) -> int | None:
    """When a file was written; None where there is none."""
    return file.stat().st_mtime_ns if file.exists() else None


def _why(finished: FinishedRun, errors: Sequence[str]) -> str:
    """Why a run that left a record did not succeed."""
    for run in finished.intervals:
        failed = ", ".join(step.name for step in run.steps if step.state == FAILED)
        if failed:
            return f"{failed} failed in {DataInterval.parse(run.interval).label}"
    return errors[-1].removeprefix("error: ") if errors else f"the run ended as {finished.state}"


def _against_oracle(run: FinishedRun, source_url: str) -> list[object]:
    """In what tables, published copy or steps of a run differ from what they must be."""
    expected = run.expected_tables(source_url)
    whole = runs_day_by_day(run.history)
    return [
        *checks.against_oracle(run.folder, expected, whole_history=whole),
        *checks.published(run.folder),
        *(fault for one in _latest(run) for fault in checks.steps_ran(one)),
        *(fault for one in _latest(run) for fault in checks.steps_in_order(one)),
    ]


def _latest(run: FinishedRun) -> list[IntervalRun]:
    """The latest run of each interval; a failed one may stand before it."""
    return list({one.interval: one for one in run.intervals}.values())


def table(ways: Sequence[Way]) -> Table:
    """One line for each variant."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    shown.add_column("variant")
    for title in ("oracle", "control"):
        shown.add_column(title)
    for title in ("intervals", "steps", "time", "peak memory"):
        shown.add_column(title, justify="right")
    for way in ways:
        shown.add_row(way.name, _word(way, way.oracle), _word(way, way.control), *_numbers(way))
    return shown


def _word(way: Way, check: Check | None) -> str:
    if way.failure is not None:
        return "failed"
    if check is None:
        return "is it"
    return "equal" if check.passed else "DIFFERS"


def _numbers(way: Way) -> tuple[str, ...]:
    if way.finished is None:
        return ()
    runs = [run for run in way.finished.intervals if run.state == SUCCESS]
    steps = sum(step.state == SUCCESS for run in way.finished.intervals for step in run.steps)
    memory = f"{way.peak_bytes / 1_000_000:,.0f} MB"
    return str(len(runs)), str(steps), formatting.duration(way.seconds), memory


def places(way: Way) -> Iterator[str]:
    """Where what a variant made is."""
    run = way.run
    if way.finished is None:
        yield f"{way.name}\n  nothing was made"
        return
    found = {
        "warehouse": run.warehouse,
        "dashboard": run.dashboard,
        "run record": run.record,
        "logs": run.step_journal.parent,
    }
    yield way.name
    for name, path in found.items():
        yield f"  {name:<10} {path if path.exists() else 'not made'}"


def compare_all(all_ways: AllWays) -> bool:
    """Run all ways and show the outcome; whether every variant ran and is equal."""
    ways = all_ways.run()
    say = all_ways.console.print
    say("")
    for way in ways:
        for line in places(way):
            say(line, markup=False)
    say("")
    say(table(ways))
    for way in ways:
        if way.fault:
            say(f"\n{way.name}: {way.fault}", markup=False)
    return all(way.passed for way in ways)


def main(arguments: Sequence[str], find_interpreter: FindInterpreter = interpreter) -> None:
    """Read the options, run all ways, and exit: 0 all equal, 1 not so, 2 usage, 130 Ctrl+C."""

    def run(options: RunOptions) -> None:
        if options.keep_up:
            raise PipelineError(
                "--keep-up leaves the pages of one variant up, not of all",
                f"name one: nox -s {variant_names()[-1]} -- --keep-up",
            )
        plan(options)
        try:
            passed = compare_all(AllWays(arguments, options, find_interpreter=find_interpreter))
        except KeyboardInterrupt:
            click.echo("stopped by Ctrl+C, and everything that was started with it", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(0 if passed else 1)

    command = command_of(run, RUNS, "The folder in which each variant has one, made anew.")
    command.help = "Run the pipeline all ways with the same options and compare what each leaves."
    run_cli(command)


if __name__ == "__main__":
    main(sys.argv[1:])
