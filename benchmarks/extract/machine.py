"""What the numbers were taken on."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from pathlib import Path


def describe() -> dict[str, object]:
    """The processor, memory, system and programs, ready for JSON."""
    model = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
        model = next(models, model)
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_megabytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "psql": subprocess.run(
            [psql(), "--version"], capture_output=True, text=True, check=True
        ).stdout.strip(),
    }


def psql() -> str:
    """The path of psql, which only the floor needs."""
    program = shutil.which("psql")
    if program is None:
        raise SystemExit("psql is not installed, and without it there is no floor to measure")
    return program
