"""Describes the machine on which results were measured."""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path


def describe() -> dict[str, str | int | None]:
    """The processor, memory, system and Python, ready for JSON."""
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
    }
