"""A variant hosted in a process of its own environment, and the usage of its process tree."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.harness.variant import started
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage import journal
from pipeline_verification.harness import environments, remote_variant
from pipeline_verification.harness.control import fill_source, interval_of
from pipeline_verification.harness.process_tree import process_tree, sampled
from pipeline_verification.harness.remote_variant import RemoteVariant

DAY = "2025-01-01"
WAIT_SECONDS = 300.0
HUNDRED_MEGABYTES = 100_000_000
# Two processes that share 200 MB, each of which works for a second.
GREEDY = [
    sys.executable,
    "-c",
    """
import os, time
data = b"x" * 200_000_000
os.fork()
while time.process_time() < 1:
    pass
time.sleep(600)
""",
]


@pytest.fixture(autouse=True)
def _this_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control runs in the tests' own environment, too."""
    monkeypatch.setattr(remote_variant, "interpreter", lambda name: Path(sys.executable))


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    run = RunDirectory(tmp_path)
    fill_source(f"sqlite:///{run.source_file}", load_dataset("synthetic"), DAY)
    return RunSettings(run=run, source_url=f"sqlite:///{run.source_file}")


def test_it_does_what_the_variant_does(
    settings: RunSettings,
    step_server_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An interval runs in the other process, which returns every step; afterwards it has ended."""
    monkeypatch.setenv(*step_server_environment.popitem())
    with started(RemoteVariant("cron", settings.run.path / "host.log"), settings) as variant:
        host = psutil.Process(variant.pid)
        run = variant.run_interval(interval_of(DAY))
        (again,) = variant.backfill([interval_of(DAY)])
    assert (run.state, again.state) == (SUCCESS, SUCCESS)
    assert sorted(step.name for step in run.steps) == sorted(STEP_NAMES)
    assert variant.versions["tenacity"]
    assert not host.is_running()


def test_a_refusal_is_one_line_here(settings: RunSettings) -> None:
    """An error of the variant is raised in this process with the same message and hint."""
    with (
        started(RemoteVariant("cron", settings.run.path / "host.log"), settings) as variant,
        exclusive(settings.run.lock),
        pytest.raises(PipelineError, match=r"ended before its first step; read .*cron\.log"),
    ):
        variant.run_interval(interval_of(DAY))


def test_a_host_that_was_killed_is_named(settings: RunSettings) -> None:
    """A request to a host that is gone fails and names its log."""
    log = settings.run.path / "host.log"
    with started(RemoteVariant("cron", log), settings) as variant:
        psutil.Process(variant.pid).kill()
        with pytest.raises(PipelineError, match=f"cron ended or hung during run_interval.*{log}"):
            variant.run_interval(interval_of(DAY))


def test_an_interrupt_ends_what_is_at_work(settings: RunSettings) -> None:
    """Ctrl+C during an interval stops the interval and does not wait for its end."""

    def interrupt_at_first_step() -> None:
        assert wait_until(settings.run.step_journal.exists, timeout_seconds=WAIT_SECONDS)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    variant = RemoteVariant("cron", settings.run.path / "host.log")
    with ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt_at_first_step)
        with pytest.raises(KeyboardInterrupt), started(variant, settings):
            variant.run_interval(interval_of(DAY))
    done = {entry.step for entry in journal.read(settings.run)}
    assert "check_source_freshness" in done
    assert "notify_slack" not in done


def test_an_unknown_variant_and_a_missing_environment_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each error is one line with the variants to choose from or the command to run."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "tests"))
    with pytest.raises(PipelineError, match="no variant 'luigi'; choose from cron, airflow"):
        environments.interpreter("luigi")
    with pytest.raises(PipelineError, match=r"of cron is missing.*nox -s cron"):
        environments.interpreter("cron")


def test_what_a_tree_uses_includes_its_children() -> None:
    """Memory and CPU time of a grandchild count, and pages that two processes share count once."""
    shell = [sys.executable, "-c", f"import subprocess; subprocess.run({GREEDY!r})"]
    with subprocess.Popen(shell) as process, sampled(process.pid, every_seconds=0.1) as usage:
        wait_until(lambda: usage.cpu_seconds >= 1.9, timeout_seconds=WAIT_SECONDS)
        for member in process_tree(psutil.Process(process.pid)):
            member.kill()
    assert usage.cpu_seconds >= 1.9
    assert usage.processes == 3
    assert 2 * HUNDRED_MEGABYTES < usage.peak_bytes < 3 * HUNDRED_MEGABYTES
