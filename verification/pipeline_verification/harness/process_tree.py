"""What a process and everything below it use: memory without counting shared pages twice, CPU."""

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
    """What was seen so far.

    Attributes:
        cpu_seconds: user and system time of every process that was seen, the ended ones included.
        peak_bytes: the greatest sum of proportional set sizes; 0 where the system has no PSS.
        processes: the greatest number of processes at once.
    """

    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    processes: int = 0
    _seconds_of: dict[tuple[int, float], float] = field(default_factory=dict)

    def look(self, root: psutil.Process) -> None:
        """Take in what the tree uses now."""
        tree = process_tree(root)
        for process in tree:
            with suppress(psutil.Error):
                times = process.cpu_times()
                key = (process.pid, process.create_time())
                earlier = self._seconds_of.get(key, 0.0)
                self._seconds_of[key] = times.user + times.system
                self.cpu_seconds += self._seconds_of[key] - earlier
        self.processes = max(self.processes, len(tree))
        self.peak_bytes = max(self.peak_bytes, proportional_bytes(tree))


def adopt_orphans() -> None:
    """Keep below this process what its descendants leave behind; on Linux alone.

    An orphan would go to the system's first process, and what it used would be in no account of
    ours. It is not waited for either: once it has ended, it keeps its account for us to read.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def process_tree(root: psutil.Process) -> list[psutil.Process]:
    """The process and all its descendants, those that ended and were not waited for included."""
    with suppress(psutil.Error):
        return [root, *root.children(recursive=True)]
    return []


def proportional_bytes(processes: list[psutil.Process]) -> int:
    """Their proportional set size in all: a page that n processes share counts 1/n for each."""
    return sum(_proportional_bytes(process.pid) for process in processes)


def _proportional_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


@contextmanager
def watched(pid: int, every_seconds: float = 1.0) -> Iterator[Usage]:
    """Look at a process tree again and again until the block ends.

    A process that lives shorter than ``every_seconds`` may go unseen; CPU time since the last look
    at a process that has ended is lost.
    """
    usage, over, root = Usage(), threading.Event(), psutil.Process(pid)
    usage.look(root)
    usage.cpu_seconds = 0.0  # what was used before the block

    def look_again() -> None:
        while not over.wait(every_seconds):
            usage.look(root)

    watcher = threading.Thread(target=look_again, daemon=True)
    watcher.start()
    try:
        yield usage
    finally:
        over.set()
        watcher.join()
        usage.look(root)
