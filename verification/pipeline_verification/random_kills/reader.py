"""A reader that polls the published copy and the dashboard while processes are killed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage.published import Manifest, PublishedCopy, open_published
from pipeline_verification.checks import incomplete_dashboard

PAUSE_SECONDS = 0.5
END_SECONDS = 60.0


@dataclass(slots=True)
class Readings:
    """What a reader saw.

    Attributes:
        reads: how many times it read everything.
        problems: errors and half versions, each text once.
    """

    reads: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, problem: str) -> None:
        """Note a problem that was not seen before."""
        if problem not in self.problems:
            self.problems.append(problem)


@contextmanager
def polling(run: RunDirectory, versions: Sequence[Manifest]) -> Iterator[Readings]:
    """Read the published copy through the public reader, again and again, during the block.

    Args:
        run: the run's folder.
        versions: the whole versions; every other content is half a version.
    """
    readings, over = Readings(), threading.Event()

    def keep_reading() -> None:
        while True:
            for problem in read_once(run, versions):
                readings.add(problem)
            readings.reads += 1
            if over.wait(PAUSE_SECONDS):
                return

    thread = threading.Thread(target=keep_reading, daemon=True)
    thread.start()
    try:
        yield readings
    finally:
        over.set()
        thread.join(END_SECONDS)
        if thread.is_alive():
            readings.add(f"a read took longer than {END_SECONDS:g} s")


def read_once(run: RunDirectory, versions: Sequence[Manifest]) -> list[str]:
    """Read the published copy and the dashboard once; the problems, as of ``polling``."""
    try:
        with open_published(run) as copy:
            problems = [] if copy.manifest in versions else ["the manifest is of no whole version"]
            problems += _unlike_manifest(copy)
        return problems + incomplete_dashboard(run)
    except Exception as error:  # whatever a reader sees is a problem
        return [f"{type(error).__name__}: {error}"]


def _unlike_manifest(copy: PublishedCopy) -> list[str]:
    """The tables whose rows are not those of the manifest."""
    problems = []
    for name, table in copy.manifest.tables.items():
        [(rows, checksum)] = copy.connection.execute(
            "SELECT count(*), coalesce(sum(hash(t)), 0) % (1::HUGEINT << 64)"
            f' FROM "{name.replace(".", chr(34) + "." + chr(34))}" AS t'
        ).fetchall()
        if (rows, f"{int(checksum):016x}") != (table.rows, table.checksum):
            problems.append(f"{name} is not as its manifest says")
    return problems
