"""The results of random kills: a JSON file that is written after each kill and continued."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from ecommerce_pipeline.files.atomic import atomic_file
from pipeline_verification.harness import machine
from pipeline_verification.harness.environments import ROOT

SCHEMA_VERSION = 1
RESULTS = ROOT / "verification" / "results"
WENT_ON, RETRIED, RUN_AGAIN, RESUMED = (
    "the run went on",
    "the tool's retry",
    "the interval run again",
    "run.py --resume",
)
NOT_RECOVERED = "not recovered"


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill, and what it led to.

    Attributes:
        seed: decides mode, moment and process.
        mode: ``pipeline`` or ``resume``, see ``Draw``.
        process: what was killed.
        steps: the steps at work in that moment; none between two steps.
        seconds: when, since the day's trigger.
        day_seconds: how long that day was expected to take.
        recovered_by: one of the texts above.
        triggers: how many times the day was started in all.
        recovery_seconds: from the kill to the day's end.
        differing: the tables, or other parts of the output, that differ; must be empty.
        problems: every difference, error of the reader and process left over; must be empty.
        reads: how many times the reader read the published copy meanwhile.
        commit: the code that ran, with ``+`` where it had uncommitted changes; None without Git.
    """

    seed: int
    mode: str
    process: str
    steps: list[str]
    seconds: float
    day_seconds: float
    recovered_by: str
    triggers: int
    recovery_seconds: float
    differing: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reads: int = 0
    commit: str | None = None

    @property
    def equal(self) -> bool:
        """Whether everything is as after an uninterrupted day."""
        return not self.differing and not self.problems and self.recovered_by != NOT_RECOVERED


class ResultFile:
    """The kills of one variant; safe to use from several threads."""

    def __init__(self, path: Path, variant: str) -> None:
        self.path = path
        self._variant = variant
        self._versions: Mapping[str, str] = {}
        self._lock = threading.Lock()
        self._kills = {kill["seed"]: Kill(**kill) for kill in self._earlier()}

    def __contains__(self, seed: object) -> bool:
        return seed in self._kills

    @property
    def kills(self) -> list[Kill]:
        """All kills, sorted by seed."""
        return [self._kills[seed] for seed in sorted(self._kills)]

    def versions_are(self, versions: Mapping[str, str]) -> None:
        """Note the versions of what is killed."""
        self._versions = versions

    def add(self, kill: Kill) -> None:
        """Write the file with a further kill; an earlier one of the same seed is replaced."""
        with self._lock:
            self._kills[kill.seed] = kill
            values = {
                "schema_version": SCHEMA_VERSION,
                "variant": self._variant,
                "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
                "machine": machine.describe(),
                "versions": dict(self._versions),
                "kills": [asdict(each) for each in self.kills],
            }
            jsonschema.validate(values, schema())
            with atomic_file(self.path) as temporary:
                temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    def _earlier(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        return list(read(self.path)["kills"])


def read(path: Path) -> dict[str, Any]:
    """The values of a result file.

    Raises:
        jsonschema.ValidationError: it is not one.
    """
    values: dict[str, Any] = json.loads(path.read_text())
    jsonschema.validate(values, schema())
    return values


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of a result file."""
    file = resources.files(__package__) / "random_kills.schema.json"
    values: dict[str, Any] = json.loads(file.read_text())
    return values


def result_file(variant: str) -> Path:
    """Where the committed results of a variant are."""
    return RESULTS / f"random_kills-{variant}.json"


@cache
def commit() -> str | None:
    """The checkout's commit, see ``Kill``."""
    try:
        described = subprocess.run(
            [  # noqa: S607 (wherever Git is)
                "git",
                *("describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
