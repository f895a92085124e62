"""What a measurement is of: samples of other code or another machine are not mixed with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_verification.harness.environments import ROOT
from pipeline_verification.harness.machine import describe

MEASURED = ("shared", "dbt_project", "*_impl", "verification", "benchmarks/measuring")
SUFFIXES = {".py", ".lock", ".toml", ".sql", ".yml", ".yaml", ".jinja", ".css"}
MADE_BY_RUNS = {"target", "logs", "__pycache__"}


def identity(benchmark: str, *, quick: bool) -> dict[str, Any]:
    """The benchmark, the machine, and a digest of the measured code and its locked versions."""
    return {
        "benchmark": benchmark,
        "quick": quick,
        "machine": describe(),
        "code": code_digest(benchmark),
    }


def code_digest(benchmark: str) -> str:
    """A digest of every file that a measurement depends on."""
    digest = hashlib.sha256()
    for file in sorted(_measured_files(benchmark)):
        # Path and size separate the files: the same bytes divided otherwise have another digest.
        digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _measured_files(benchmark: str) -> Iterator[Path]:
    for pattern in (*MEASURED, f"benchmarks/definitions/{benchmark}*"):
        for found in ROOT.glob(pattern):
            yield from filter(_is_code, found.rglob("*") if found.is_dir() else [found])


def _is_code(file: Path) -> bool:
    return (
        file.suffix in SUFFIXES
        and not file.name.startswith(("test_", "."))
        and not MADE_BY_RUNS & set(file.parts)
        and file.is_file()
    )
