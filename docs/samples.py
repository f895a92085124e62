"""Sample result files in the format of the committed ones, for the tests of the site."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline_verification.conformance.badge import badge
from pipeline_verification.harness.environments import ROOT

MACHINE = {
    "cpu": "sample",
    "cores": 2,
    "memory_megabytes": 24105,
    "system": "sample",
    "python": "3.11.7",
}
DATE = "2001-01-01T00:00:00Z"
SCENARIOS = {"three-days": "Three days", "backfill": "Backfill"}
METRICS = {
    "seconds": {"unit": "s", "title": "Seconds"},
    "peak_megabytes": {"unit": "MB", "title": "Peak memory"},
}
MEASURED = ("extract.json", "dbt.json")
FAULTS_OF = "-step-server.json"
ROUNDS = 5
SCORE = "2/2"


def write(folder: Path, variants: Sequence[str]) -> Path:
    """Write a folder of results with a README of the method beside it; return the results' folder.

    Those of extraction, dbt and fault injection are the committed ones; the others are invented.
    """
    results = folder / "results"
    (results / "badges").mkdir(parents=True)
    (folder / "README.md").write_text("# Benchmarks\n\nText.\n\n## Method\n\nTurns.\n")
    for pattern in MEASURED:
        for path in (ROOT / "benchmarks" / "results").glob(pattern):
            shutil.copy(path, results)
    for path in (ROOT / "benchmarks" / "results").glob(f"faults-*{FAULTS_OF}"):
        shutil.copy(path, results / path.name.replace(FAULTS_OF, ".json"))
    save(results, "conformance", conformance(variants))
    for benchmark in ("pipeline", "steps", "footprint"):
        save(results, benchmark, measurement(benchmark, variants))
    for variant in variants:
        (results / "badges" / f"{variant}.svg").write_text(badge(variant, SCORE))
    return results


def save(results: Path, name: str, content: object) -> None:
    """Write one result file."""
    (results / f"{name}.json").write_text(json.dumps(content))


def conformance(variants: Sequence[str]) -> dict[str, Any]:
    """Every variant equal in every scenario."""
    return {
        "schema_version": 1,
        "date": DATE,
        "form": "native",
        "quick": False,
        "machine": MACHINE,
        "versions": {variant: {"python": "3.11.7", variant: "1.2.3"} for variant in variants},
        "control": "cron",
        "scenarios": {
            name: {
                "title": title,
                "rule": "Every table equals the control's.",
                "variants": {variant: outcome() for variant in variants},
            }
            for name, title in SCENARIOS.items()
        },
        "badges": dict.fromkeys(variants, "2/2"),
    }


def outcome(failure: str | None = None) -> dict[str, Any]:
    """The outcome of a scenario: passed, or failed before any check."""
    checks = {} if failure else {"every table": {"passed": True, "detail": "9 tables"}}
    return {"passed": failure is None, "checks": checks, "seconds": 12.5, "failure": failure}


def measurement(benchmark: str, variants: Sequence[str]) -> dict[str, Any]:
    """One case with two metrics; the n-th variant has n times the numbers of the first."""
    cases = {
        "small": {
            "description": f"One day, {benchmark}",
            "metrics": METRICS,
            "variants": {variant: _measured(n) for n, variant in enumerate(variants, 1)},
        }
    }
    return {
        "schema_version": 1,
        "benchmark": benchmark,
        "title": f"Sample of {benchmark}",
        "date": DATE,
        "quick": False,
        "rounds": ROUNDS,
        "machine": MACHINE,
        "versions": {variant: {variant: "1.2.3"} for variant in variants},
        "control": "cron",
        "cases": cases,
    }


def _measured(times: int) -> dict[str, Any]:
    values = {"seconds": 10.0 * times, "peak_megabytes": 200.0 * times}
    return {
        "samples": [{"round": n, "values": values, "failure": None} for n in range(1, ROUNDS + 1)],
        "summary": {metric: _summary(value, times) for metric, value in values.items()},
    }


def _summary(value: float, times: int) -> dict[str, Any]:
    ratio = {"median": times, "min": times, "max": times}
    return {"n": ROUNDS, "median": value, "min": 0.9 * value, "max": 1.1 * value, "ratio": ratio}
