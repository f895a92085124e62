"""The CPU time and memory of a process and its descendants; a shared page counts once."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_PR_SET_CHILD_SUBREAPER = 36


@dataclass(slots=True)
class Usage:
    """The usage of a process tree so far.

    Attributes:
        cpu_seconds: user and system time of every process that was sampled, also of ended ones.
        peak_bytes: the maximum sum of proportional set sizes; 0 where the system has no PSS.
        processes: the maximum number of processes at once.
    """

    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    processes: int = 0
    _seconds_of: dict[tuple[int, float], float] = field(default_factory=dict)

    def sample(self, root: psutil.Process) -> None:
        """Add what the tree uses now."""
        tree = process_tree(root)
        for process in tree:
            with suppress(psutil.Error):
                times = process.cpu_times()
                # The kernel reuses process ids; with the creation time the key is unique.
                key = (process.pid, process.create_time())
                earlier = self._seconds_of.get(key, 0.0)
                self._seconds_of[key] = times.user + times.system
                self.cpu_seconds += self._seconds_of[key] - earlier
        self.processes = max(self.processes, len(tree))
        self.peak_bytes = max(self.peak_bytes, proportional_bytes(tree))


def adopt_orphans() -> None:
    """Make this process the parent of its descendants' orphans, on Linux.

    Otherwise an orphan becomes a child of the system's first process and leaves the tree with
    everything that it used. An adopted orphan that has ended is not waited for: it stays as a
    zombie, whose CPU time can still be read.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def process_tree(root: psutil.Process) -> list[psutil.Process]:
    """The process and all its descendants, zombies included; empty when it is gone."""
    with suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return []


def proportional_bytes(processes: list[psutil.Process]) -> int:
    """The sum of their proportional set sizes: of a page that n processes share, each has 1/n."""
    return sum(_proportional_bytes(process.pid) for process in processes)


def _proportional_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def sampled(pid: int, every_seconds: float = 1.0) -> Iterator[Usage]:
    """Sample a process tree until the block ends.

    A process with a shorter life than ``every_seconds`` may be missed, and so may the CPU time
    that a process used between its last sample and its end.

    Args:
        pid: the root of the tree.
        every_seconds: the time between two samples.
    """
    usage, over, root = Usage(), threading.Event(), psutil.Process(pid)
    usage.sample(root)
    usage.cpu_seconds = 0.0  # what was used before the block

    def keep_sampling() -> None:
        while not over.wait(every_seconds):
            usage.sample(root)

    sampler = threading.Thread(target=keep_sampling, daemon=True)
    sampler.start()
    try:
        yield usage
    finally:
        over.set()
        sampler.join()
        usage.sample(root)
