"""Measures one process, from its start to its end."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

TIMEOUT_SECONDS = 900.0
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class EndedProcess:
    """A process that ended with exit code 0.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: user and system time, those of processes that it waited for included.
        peak_megabytes: the maximum resident size of any one of them.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    output: str


def run(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> EndedProcess:
    """Run a process in ``folder`` to its end.

    Args:
        command: the program and its arguments.
        variables: added to the environment.
        folder: its working directory.

    Raises:
        PipelineError: it failed, or took longer than ``TIMEOUT_SECONDS`` and was killed.
    """
    # Files, not pipes: nobody reads while the process runs, and a full pipe would stop it.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=out, stderr=err
        )
        overdue = threading.Timer(TIMEOUT_SECONDS, process.kill)
        overdue.start()
        # Unlike Popen.wait, wait4 also returns the CPU time and the peak memory. Popen does not
        # notice that the process was waited for and therefore needs its exit code from here.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
        overdue.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            reason = err.read().strip().splitlines() or ["no message"]
            raise PipelineError(f"exit {process.returncode}: {reason[-1]}", "run it by hand")
        cpu = usage.ru_utime + usage.ru_stime
        # Linux reports ru_maxrss in KiB.
        return EndedProcess(seconds, cpu, float(usage.ru_maxrss // KIB_PER_MIB), out.read())
