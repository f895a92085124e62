"""Running all variants: one that fails hides no other, and a wrong option is one line."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.harness.driver import RunOptions
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.all_variants import AllVariants, VariantRun, compare_all, table
from pipeline_verification.checks import Check

ONE_DAY = ["--days", "1"]
# The command, with the control in the tests' own environment.
HERE = """
import sys
from pathlib import Path
from pipeline_verification.all_variants import main
main(sys.argv[1:], lambda name: Path(sys.executable))
"""
WAIT_SECONDS = 120.0


@dataclass(slots=True)
class Ran:
    """The result, and what was printed."""

    passed: bool
    variant_runs: list[VariantRun]
    shown: str


class RecordingAllVariants(AllVariants):
    """Keeps the runs for the tests."""

    variant_runs: list[VariantRun]

    def run(self) -> list[VariantRun]:
        self.variant_runs = super().run()
        return self.variant_runs


def run_here(folder: Path, *variants: str, python: str = sys.executable) -> Ran:
    """Run one day with variants in the tests' own environment, or under another program."""
    shown = io.StringIO()
    console = Console(file=shown, width=150)
    options = RunOptions(run_dir=folder, days=1)
    all_variants = RecordingAllVariants(
        ONE_DAY, options, variants, lambda name: Path(python), console
    )
    return Ran(compare_all(all_variants), all_variants.variant_runs, shown.getvalue())


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The control, and a variant that does not exist."""
    with pytest.MonkeyPatch.context() as patch, step_server.running() as address:
        patch.setenv(step_server.ENVIRONMENT_VARIABLE, str(address))
        return run_here(tmp_path_factory.mktemp("all"), "cron", "nowhere")


def test_one_that_fails_hides_no_other(ran: Ran) -> None:
    """The control is equal to the oracle although the other variant is not there."""
    control, other = ran.variant_runs
    assert control.passed
    assert control.oracle is not None
    assert control.oracle.detail.startswith("17 tables, ")
    assert control.peak_bytes > 50_000_000
    assert not other.passed
    assert other.failure is not None
    assert other.failure.startswith("there is no variant 'nowhere'; choose from cron")
    assert not ran.passed


def test_the_table(ran: Ran) -> None:
    """A line for each says whether it equals oracle and control, what it did, and how long."""
    lines = [line.split() for line in ran.shown.splitlines()]
    header = ["variant", "oracle", "control", "intervals", "steps", "time", "peak", "memory"]
    start = lines.index(header)
    assert lines[start + 1][:5] == ["cron", "equal", "control", "1", "16"]
    assert lines[start + 1][-1] == "MB"
    assert lines[start + 2] == ["nowhere", "failed", "failed"]
    assert "\nnowhere: there is no variant 'nowhere'" in ran.shown


def test_where_everything_is(ran: Ran) -> None:
    """The paths of warehouse, dashboard, record and logs are printed, or that nothing was made."""
    run = ran.variant_runs[0].run
    for path in (run.warehouse, run.dashboard, run.record, run.path / "logs"):
        assert f" {path}\n" in ran.shown
        assert path.exists()
    assert "nowhere\n  nothing was made\n" in ran.shown


def test_a_difference_is_shown(ran: Ran) -> None:
    """A variant that ran and is not equal is shown as DIFFERS, not as failed."""
    other = VariantRun("other", ran.variant_runs[0].run, finished=ran.variant_runs[0].finished)
    other.oracle, other.control = Check(True, ""), Check(False, "marts.fct_orders: 1 row")
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as capture:
        console.print(table([other]))
    assert capture.get().splitlines()[-1].split()[:3] == ["other", "equal", "DIFFERS"]
    assert other.problem == "differs from the control: marts.fct_orders: 1 row"
    assert not other.passed


def test_an_earlier_run_is_not_taken_for_this_one(ran: Ran) -> None:
    """A command that ends at once has no run, although the folder has one from before."""
    again = run_here(ran.variant_runs[0].run.path.parent, "cron", python="/bin/false")
    assert ran.variant_runs[0].run.record.exists()
    assert again.variant_runs[0].failure == "it left no run record"
    assert "cron\n  nothing was made\n" in again.shown


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--scale", "0"], 2, "Error: Invalid value for '--scale': 0 is not in the range x>=1."),
        (["--start", "1999-01-01"], 1, "error: the data set synthetic has no data for 1999-01-01"),
        (["--dataset", "none"], 1, "error: --dataset none uses an existing database"),
        (["--keep-up"], 1, "error: --keep-up leaves the pages of one variant up, not of all"),
    ],
)
def test_a_wrong_option_is_one_line(arguments: list[str], code: int, message: str) -> None:
    """An option that does not fit ends in one line, before any variant is started."""
    done = subprocess.run(
        [sys.executable, "-m", "pipeline_verification.all_variants", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code
    assert done.stderr.splitlines()[-1].startswith(message)
    assert done.stderr.lower().count("error") == 1
    assert done.stdout == ""


def test_ctrl_c_stops_everything(tmp_path: Path) -> None:
    """Ctrl+C ends the variant that runs, says so in one line, and leaves no process."""
    run = RunDirectory(tmp_path / "cron")
    with subprocess.Popen(
        [sys.executable, "-c", HERE, "--run-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_until(run.step_journal.exists, timeout_seconds=WAIT_SECONDS)
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 130
    assert errors == "stopped by Ctrl+C, and everything that was started with it\n"
    assert tree
    _, alive = psutil.wait_procs(tree, timeout=WAIT_SECONDS)
    assert alive == []
