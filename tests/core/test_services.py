"""Services: restarted, reported when they end, and stopped with everything they started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.harness.services import RESTARTS, Service, run_to_end

# A child that leads its own process group and ignores SIGTERM, as a task may do.
STUBBORN_CHILD = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setpgid(0, 0)
print(os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {STUBBORN_CHILD!r}])"


def wait_for(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, timeout_seconds=60, poll_seconds=0.02), "waited too long"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    """Starts Python code as a service; all services are stopped at the end."""
    services = []

    def start(code: str) -> Service:
        log = tmp_path / "service.log"
        service = Service("the service", [sys.executable, "-c", code], os.environ, log)
        services.append(service)
        return service

    yield start
    for service in services:
        service.stop()


def child_of(log: Path, number: int = 1) -> psutil.Process:
    """The child that was started as the nth."""
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) >= number)
    return psutil.Process(int(log.read_text().splitlines()[number - 1]))


def test_stop_kills_a_child_that_ignores_it(
    start: Callable[[str], Service], tmp_path: Path
) -> None:
    """Stopping a service leaves none of its processes, not even one with its own group."""
    service = start(PARENT)
    child = child_of(tmp_path / "service.log")
    service.stop()
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    assert service.process.poll() is not None


def test_a_killed_service_is_restarted_without_its_old_child(
    start: Callable[[str], Service], tmp_path: Path
) -> None:
    """A restart kills the processes that the dead service left before the new one starts."""
    service = start(PARENT)
    old = child_of(tmp_path / "service.log")
    service.process.kill()
    service.process.wait()
    service.restart_if_exited()
    new = child_of(tmp_path / "service.log", number=2)
    assert new.is_running()
    assert not old.is_running() or old.status() == psutil.STATUS_ZOMBIE


def test_a_service_that_keeps_ending_raises(start: Callable[[str], Service]) -> None:
    """A service that ends again and again raises an error that names its log."""
    service = start("raise SystemExit(1)")
    for _ in range(RESTARTS):
        service.process.wait()
        service.restart_if_exited()
    service.process.wait()
    with pytest.raises(PipelineError, match=r"the service ended 6 times; read .*service\.log"):
        service.restart_if_exited()


def test_a_service_that_ends_while_starting_raises(start: Callable[[str], Service]) -> None:
    """A service that ends at once raises an error that names its log."""
    service = start("raise SystemExit(1)")
    service.process.wait()
    with pytest.raises(PipelineError, match=r"the service ended at once; read .*service\.log"):
        service.restart_if_killed()


def test_a_service_that_is_killed_while_starting_is_started_again(
    start: Callable[[str], Service],
) -> None:
    """A signal that ends a service before it is up does not end the run."""
    service = start("import time; time.sleep(600)")
    first = service.process
    first.kill()
    first.wait()
    service.restart_if_killed()
    assert service.process.pid != first.pid
    assert service.process.poll() is None


def test_a_command_that_is_killed_is_run_again(tmp_path: Path) -> None:
    """A preparation that a signal has ended runs again; one that fails or hangs is named."""
    log, mark = tmp_path / "prepare.log", tmp_path / "mark"
    killed_once = (
        f"import os, pathlib; mark = pathlib.Path({str(mark)!r}); first = not mark.exists()\n"
        "mark.touch(); print('again', flush=True)\n"
        "if first: os.kill(os.getpid(), 9)"
    )

    def prepare(code: str, timeout_seconds: float = 60) -> None:
        command = [sys.executable, "-c", code]
        run_to_end("the preparation", command, os.environ, log, timeout_seconds=timeout_seconds)

    prepare(killed_once)
    assert log.read_text() == "again\nagain\n"
    with pytest.raises(PipelineError, match=r"the preparation failed; read .*prepare\.log"):
        prepare("raise SystemExit(3)")
    with pytest.raises(PipelineError, match=r"the preparation did not end within 0\.2 s"):
        prepare("import time; time.sleep(600)", timeout_seconds=0.2)
