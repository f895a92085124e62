"""Runs each variant's own command with the same options, and compares what each leaves.

python -m pipeline_verification.all_variants --days 3
"""

from __future__ import annotations

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
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.harness.command_line import command_of, run_cli
from ecommerce_pipeline.harness.driver import RunOptions, plan
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import FAILED, SUCCESS
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
from pipeline_verification.harness.process_tree import Usage, sampled
from pipeline_verification.harness.text_table import text_table
from pipeline_verification.verdict import all_of, verify

RUNS = ROOT / "runs"
INTERRUPTED = 130
FindInterpreter = Callable[[str], Path]


@dataclass(slots=True)
class VariantRun:
    """The run of one variant.

    Attributes:
        name: the variant.
        run: its folder.
        seconds: how long its command took; 0 when it was not started.
        peak_bytes: the maximum memory of its process tree, in proportional set size.
        finished: its run record; None when it wrote none.
        failure: why it did not succeed, in one line; None when it did.
        oracle: whether it is right by ``verdict.RUN_CHECKS``; None when that was not checked.
        control: whether it equals the control; None for the control itself.
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
        """Whether the run succeeded, was checked, and passed every check."""
        results = [check for check in (self.oracle, self.control) if check is not None]
        return self.failure is None and bool(results) and all(check.passed for check in results)

    @property
    def problem(self) -> str:
        """The failure or the first difference; empty when there is none."""
        compared = {"the oracle": self.oracle, "the control": self.control}
        differences = (
            f"differs from {n}: {c.detail}" for n, c in compared.items() if c and not c.passed
        )
        return self.failure or next(differences, "")


@dataclass(slots=True)
class AllVariants:
    """Runs variants with the same options and compares what they leave.

    Attributes:
        arguments: the options as they were given, without the folder.
        options: the same, parsed.
        variants: the names; the first is the control.
        find_interpreter: the Python of a variant's environment.
        console: where everything is printed.
    """

    arguments: Sequence[str]
    options: RunOptions
    variants: Sequence[str] = field(default_factory=variant_names)
    find_interpreter: FindInterpreter = interpreter
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))

    def run(self) -> list[VariantRun]:
        """Run and check one variant after the other; a failure does not stop the others."""
        variant_runs: list[VariantRun] = []
        for name in self.variants:
            self.console.rule(name, align="left", characters="─")
            variant_run = VariantRun(name, RunDirectory(self.options.run_dir / name))
            try:
                self._run_one(variant_run)
                self._check(variant_run, variant_runs[0] if variant_runs else None)
            except Exception as error:
                variant_run.failure = " ".join(str(error).split()) or type(error).__name__
            if variant_run.problem:
                self.console.print(f"{name}: {variant_run.problem}", markup=False)
            variant_runs.append(variant_run)
        return variant_runs

    def _run_one(self, variant_run: VariantRun) -> None:
        """Run the variant's command and read its run record.

        Raises:
            PipelineError: its environment is missing.
        """
        name, run = variant_run.name, variant_run.run
        script = variant_folder(name) / "run.py"
        command = [str(self.find_interpreter(name)), str(script), *self.arguments]
        earlier = _modified(run.record)
        begun = time.monotonic()
        usage, errors = _run_command([*command, "--run-dir", str(run.path)])
        variant_run.seconds, variant_run.peak_bytes = time.monotonic() - begun, usage.peak_bytes
        # A command that ends at once leaves the record of an earlier run as it is.
        if _modified(run.record) == earlier:
            variant_run.failure = _last_error(errors) or "it left no run record"
            return
        variant_run.finished = FinishedRun.read(run.path)
        if variant_run.finished.state != SUCCESS:
            variant_run.failure = _why(variant_run.finished, errors)

    def _check(self, variant_run: VariantRun, control: VariantRun | None) -> None:
        """Compare what the run left with the oracle, and with the control."""
        if variant_run.finished is None or variant_run.failure is not None:
            return
        self.console.print(f"{variant_run.name}: comparing", markup=False)
        run = variant_run.run
        size = checks.warehouse_size(run.warehouse)
        evidence = variant_run.finished.evidence(self.options.source)
        variant_run.oracle = all_of(verify(evidence), size)
        if control is None:
            return
        missing = control.finished is None or control.failure is not None
        problems = ["there is no control"] if missing else checks.other_run(run, control.run)
        variant_run.control = Check.of(problems, size)


def _run_command(command: Sequence[str]) -> tuple[Usage, list[str]]:
    """Run a command that prints to our output; its usage and the lines of its standard error."""
    errors: list[str] = []
    with subprocess.Popen(
        command,
        env=stated_environment(),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Ctrl+C would reach the command directly and a second time through our SIGTERM.
        start_new_session=True,
    ) as process:
        reader = threading.Thread(target=_repeat, args=[process.stderr, errors])
        reader.start()
        try:
            with sampled(process.pid) as usage:
                process.wait()
        except BaseException:
            process.terminate()
            raise
        finally:
            process.wait()
            reader.join()
    return usage, errors


def _repeat(lines: Iterable[str], kept: list[str]) -> None:
    """Print lines as they come, and keep those that are not empty."""
    for line in lines:
        sys.stderr.write(line)
        if line.strip():
            kept.append(line.strip())


def _modified(file: Path) -> int | None:
    """A file's modification time in nanoseconds; None when there is no file."""
    return file.stat().st_mtime_ns if file.exists() else None


def _last_error(errors: Sequence[str]) -> str:
    return errors[-1].removeprefix("error: ") if errors else ""


def _why(finished: FinishedRun, errors: Sequence[str]) -> str:
    """Why a run that left a record did not succeed."""
    for run in finished.intervals:
        failed = ", ".join(step.name for step in run.steps if step.state == FAILED)
        if failed:
            return f"{failed} failed in {DataInterval.parse(run.interval).label}"
    return _last_error(errors) or f"the run ended as {finished.state}"


def table(variant_runs: Sequence[VariantRun]) -> Table:
    """One line for each variant."""
    titles = ("variant", "oracle", "control", "intervals", "steps", "time", "peak memory")
    rows = (
        (run.name, _word(run, run.oracle), _word(run, run.control), *_numbers(run))
        for run in variant_runs
    )
    return text_table(titles, rows, left=3)


def _word(variant_run: VariantRun, check: Check | None) -> str:
    if variant_run.failure is not None:
        return "failed"
    if check is None:
        return "control"
    return "equal" if check.passed else "DIFFERS"


def _numbers(variant_run: VariantRun) -> tuple[str, ...]:
    finished = variant_run.finished
    if finished is None:
        return ()
    intervals = sum(run.state == SUCCESS for run in finished.intervals)
    steps = sum(step.state == SUCCESS for run in finished.intervals for step in run.steps)
    memory = f"{variant_run.peak_bytes / 1_000_000:,.0f} MB"
    return str(intervals), str(steps), formatting.duration(variant_run.seconds), memory


def places(variant_run: VariantRun) -> Iterator[str]:
    """Lines with the paths of what a variant made."""
    run = variant_run.run
    if variant_run.finished is None:
        yield f"{variant_run.name}\n  nothing was made"
        return
    found = {
        "warehouse": run.warehouse,
        "dashboard": run.dashboard,
        "run record": run.record,
        "logs": run.step_journal.parent,
    }
    yield variant_run.name
    for name, path in found.items():
        yield f"  {name:<10} {path if path.exists() else 'not made'}"


def compare_all(all_variants: AllVariants) -> bool:
    """Run all variants and print the result; whether every one ran and is equal."""
    variant_runs = all_variants.run()
    say = all_variants.console.print
    say("")
    for variant_run in variant_runs:
        for line in places(variant_run):
            say(line, markup=False)
    say("")
    say(table(variant_runs))
    for variant_run in variant_runs:
        if variant_run.problem:
            say(f"\n{variant_run.name}: {variant_run.problem}", markup=False)
    return all(variant_run.passed for variant_run in variant_runs)


def main(arguments: Sequence[str], find_interpreter: FindInterpreter = interpreter) -> None:
    """Read the options, run all variants, and exit: 0 all equal, 1 not so, 2 usage, 130 Ctrl+C."""

    def run(options: RunOptions) -> None:
        if options.keep_up:
            raise PipelineError(
                "--keep-up leaves the pages of one variant up, not of all",
                f"name one: nox -s {variant_names()[-1]} -- --keep-up",
            )
        plan(options)  # an option that does not fit is refused before any variant starts
        variants = variant_names(options.form)
        all_variants = AllVariants(arguments, options, variants, find_interpreter)
        try:
            passed = compare_all(all_variants)
        except KeyboardInterrupt:
            click.echo("stopped by Ctrl+C, and everything that was started with it", err=True)
            sys.exit(INTERRUPTED)
        sys.exit(0 if passed else 1)

    help_text = "Holds a folder for each variant, which is emptied first."
    command = command_of(run, RUNS, help_text, [NATIVE, STEP_SERVER])
    command.help = "Run the pipeline under every variant with the same options and compare them."
    run_cli(command)


if __name__ == "__main__":
    main(sys.argv[1:])
