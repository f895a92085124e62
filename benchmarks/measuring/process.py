"""What one process costs, from its start to its end."""

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


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended well.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: user and system time, of the processes that it waited for, too.
        peak_megabytes: the greatest resident size of any of them.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_megabytes: float
    output: str


def run(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> Ended:
    """Run a process in ``folder`` to its end.

    Args:
        command: the program and its arguments.
        variables: added to the environment.
        folder: its working directory.

    Raises:
        PipelineError: it failed, or took longer than ``TIMEOUT_SECONDS`` and was killed.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=out, stderr=err
        )
        overdue = threading.Timer(TIMEOUT_SECONDS, process.kill)
        overdue.start()
        _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), it says what was used
        seconds = time.perf_counter() - begun
        overdue.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            reason = err.read().strip().splitlines() or ["no message"]
            raise PipelineError(f"exit {process.returncode}: {reason[-1]}", "run it by hand")
        cpu = usage.ru_utime + usage.ru_stime
        return Ended(seconds, cpu, float(usage.ru_maxrss // 1024), out.read())
