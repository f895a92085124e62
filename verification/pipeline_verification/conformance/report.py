"""What came of the scenarios: as JSON, as badges made from it, and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
from rich.table import Table

from ecommerce_pipeline.files.atomic import hidden_sibling
from pipeline_verification.conformance.badge import badge
from pipeline_verification.conformance.stage import Scenario
from pipeline_verification.conformance.suite import Outcome
from pipeline_verification.harness import machine
from pipeline_verification.harness.environments import CONTROL

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("conformance.schema.json")
BADGES = "badges"

Outcomes = Mapping[str, Mapping[str, Outcome]]
Results = Mapping[str, Any]


def results(scenarios: Mapping[str, Scenario], outcomes: Outcomes, *, quick: bool) -> Results:
    """The results as JSON values.

    Args:
        scenarios: what was played, by name.
        outcomes: by scenario and variant.
        quick: whether it was the quick form.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "quick": quick,
        "machine": machine.describe(),
        "versions": _versions(outcomes),
        "control": CONTROL,
        "scenarios": {
            name: {
                "title": scenarios[name].title,
                "rule": scenarios[name].rule,
                "variants": {variant: _values(outcome) for variant, outcome in of_one.items()},
            }
            for name, of_one in outcomes.items()
        },
        "badges": {variant: _score(outcomes, variant) for variant in _variants(outcomes)},
    }


def write(values: Results, file: Path) -> None:
    """Replace the file and the badges beside it; no badge ever says what the file does not.

    Raises:
        jsonschema.ValidationError: the values are not what ``conformance.schema.json`` asks for.
    """
    jsonschema.validate(values, json.loads(SCHEMA.read_text()))
    badges = file.parent / BADGES
    badges.mkdir(parents=True, exist_ok=True)
    for stale in badges.glob("*.svg"):
        stale.unlink()
    temporary = hidden_sibling(file)
    temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    temporary.replace(file)
    for variant, value in values["badges"].items():
        (badges / f"{variant}.svg").write_text(badge(variant, value))


def table(values: Results) -> Table:
    """Scenario by variant: whether it passed, and how long it took."""
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    shown.add_column("scenario")
    for variant in values["badges"]:
        shown.add_column(variant)
    for name, scenario in values["scenarios"].items():
        cells = (_cell(scenario["variants"].get(variant)) for variant in values["badges"])
        shown.add_row(name, *cells)
    shown.add_row("", *values["badges"].values())
    return shown


def faults(values: Results) -> Iterator[str]:
    """Of each scenario that a variant did not pass, the first thing that was wrong."""
    for name, scenario in values["scenarios"].items():
        for variant, outcome in scenario["variants"].items():
            if not outcome["passed"]:
                yield f"{name}, {variant}: {_first_fault(outcome)}"


def _cell(outcome: Mapping[str, Any] | None) -> str:
    if outcome is None:
        return ""
    return f"{'✓' if outcome['passed'] else '✗'} {outcome['seconds']:.0f} s"


def _first_fault(outcome: Mapping[str, Any]) -> str:
    if outcome["failure"] is not None:
        return str(outcome["failure"])
    checks = outcome["checks"].items()
    return next(f"{name}: {check['detail']}" for name, check in checks if not check["passed"])


def _values(outcome: Outcome) -> dict[str, Any]:
    return {
        "passed": outcome.passed,
        "checks": {name: asdict(check) for name, check in outcome.checks.items()},
        "seconds": outcome.seconds,
        "failure": outcome.failure,
    }


def _variants(outcomes: Outcomes) -> list[str]:
    """The variants that played, in the order in which they did."""
    return list({variant: None for of_one in outcomes.values() for variant in of_one})


def _versions(outcomes: Outcomes) -> dict[str, dict[str, str]]:
    """Of each variant what it ran on; empty where it never started."""
    return {
        variant: next(
            (
                dict(of_one[variant].versions)
                for of_one in outcomes.values()
                if variant in of_one and of_one[variant].versions
            ),
            {},
        )
        for variant in _variants(outcomes)
    }


def _score(outcomes: Outcomes, variant: str) -> str:
    passed = sum(of_one[variant].passed for of_one in outcomes.values())
    return f"{passed}/{len(outcomes)}"
