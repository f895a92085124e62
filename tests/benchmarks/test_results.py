"""The committed results and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from definitions import dbt, extract
from measuring.options import ROUNDS
from measuring.results import validate
from pipeline_verification.harness.environments import (
    CONTROL,
    ROOT,
    form_of_result,
    variant_names,
)

RESULTS = ROOT / "benchmarks" / "results"
COMMITTED = {
    file.stem: values
    for file in sorted(RESULTS.glob("*.json"))
    if "benchmark" in (values := json.loads(file.read_text()))
}


def _results(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 (any wrong value)
    sample = {"round": 1, "values": {"seconds": 1.0}, "failure": None}
    spread = {"median": 1.0, "min": 1.0, "max": 1.0}
    case = {
        "description": "a case",
        "metrics": {"seconds": {"unit": "s", "title": "seconds"}},
        "variants": {
            "cron": {
                "samples": [{**sample, **changed}],
                "summary": {"seconds": {"n": 1, **spread, "ratio": spread}},
            }
        },
    }
    machine = {"cpu": "", "cores": 2, "memory_megabytes": 1, "system": "", "python": ""}
    return {
        "schema_version": 2,
        "benchmark": "steps",
        "title": "Steps",
        "date": "2025-01-01T00:00:00Z",
        "quick": False,
        "rounds": 1,
        "machine": machine,
        "code": "0",
        "versions": {},
        "control": "cron",
        "cases": {"daily": case},
    }


def test_schema_accepts_a_sample() -> None:
    """A sample with values and no failure is valid."""
    validate(_results())


@pytest.mark.parametrize(
    "changed",
    [
        {"failure": "it broke"},  # a failure beside values
        {"values": {}},  # neither
        {"values": {"seconds": "fast"}},
        {"round": 0},
    ],
)
def test_schema_refuses(changed: dict[str, Any]) -> None:
    """A sample has either values or a failure, numbers, and a round from 1."""
    with pytest.raises(jsonschema.ValidationError):
        validate(_results(**changed))


def _compared(benchmark: str) -> set[str]:
    """The names of what a benchmark compares: by default the variants."""
    methods = {"dbt": set(dbt.START_METHODS), "extract": {*extract.FLOORS, *extract.METHODS}}
    return methods.get(benchmark, set(variant_names()))


def test_committed_results() -> None:
    """Committed results are valid, have every variant, its versions and at least five rounds."""
    assert set(COMMITTED) == {"dbt", "extract", "footprint", "pipeline", "steps"}
    for benchmark, values in COMMITTED.items():
        validate(values)
        assert values["benchmark"] == benchmark
        assert not values["quick"]
        compared = _compared(benchmark)
        assert values["control"] in compared
        assert (values["control"] == CONTROL) == (compared == set(variant_names()))
        assert set(values["versions"]) == compared
        for name, case in values["cases"].items():
            once = (benchmark, name) == ("extract", extract.MEMORY_CASE)
            of_variants = values["control"] == CONTROL
            expected = set(variant_names(form_of_result(name))) if of_variants else compared
            assert set(case["variants"]) == ({extract.OURS} if once else expected)
            for variant in case["variants"].values():
                rounds = [sample["round"] for sample in variant["samples"]]
                last = case.get("measured", values)["rounds"]
                assert rounds == list(range(1, 2 if once else last + 1))
                assert once or len(rounds) >= ROUNDS
                measured = sum(sample["failure"] is None for sample in variant["samples"])
                assert all(summary["n"] <= measured for summary in variant["summary"].values())
                assert variant["summary"][next(iter(case["metrics"]))]["n"] == measured


def test_extract_results() -> None:
    """Every extraction method has five samples, and its files were compared with the source."""
    variants = COMMITTED["extract"]["cases"][extract.CASE]["variants"]
    assert {len(variant["samples"]) for variant in variants.values()} == {ROUNDS}
    compared = {name for name, variant in variants.items() if "exact" in variant.get("notes", {})}
    assert compared == set(extract.METHODS)


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_benchmarks_are_found() -> None:
    """An unknown benchmark is refused with the names of the files in ``definitions/``."""
    done = _command("speed")
    assert done.returncode == 2
    assert "is not one of 'dbt', 'extract', 'footprint', 'pipeline', 'steps'" in done.stderr


def test_unknown_variant(tmp_path: Path) -> None:
    """An unknown variant ends in one line that names the known ones, and no results."""
    done = _command("steps", "--variants", "luigi", "--out", str(tmp_path))
    assert done.returncode == 1
    assert "there is no variant luigi" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())
