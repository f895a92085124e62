"""The results of random kills: a JSON file that is written after each kill and continued."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from ecommerce_pipeline.files.atomic import atomic_file
from pipeline_verification.harness import machine
from pipeline_verification.harness.environments import ROOT
from pipeline_verification.random_kills.kill import Kill

SCHEMA_VERSION = 1


class ResultFile:
    """The kills of one variant in one form; safe to use from several threads."""

    def __init__(self, path: Path, variant: str, form: str) -> None:
        self.path = path
        self._variant = variant
        self._form = form
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
                "form": self._form,
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
