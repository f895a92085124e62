"""The suite's outcomes as JSON, as badges, and as a table for a terminal."""

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
from ecommerce_pipeline.harness.variant import NATIVE
from pipeline_verification.conformance.badge import badge
from pipeline_verification.conformance.scenario_run import Scenario
from pipeline_verification.conformance.suite import ScenarioOutcome
from pipeline_verification.harness import machine
from pipeline_verification.harness.environments import CONTROL
from pipeline_verification.harness.text_table import text_table

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("conformance.schema.json")
BADGES = "badges"

Outcomes = Mapping[str, Mapping[str, ScenarioOutcome]]
Results = Mapping[str, Any]


def results(
    scenarios: Mapping[str, Scenario], outcomes: Outcomes, *, form: str, quick: bool
) -> Results:
    """The results as JSON values.

    Args:
        scenarios: the scenarios that ran, by name.
        outcomes: their outcomes, by scenario and variant.
        form: the form of the variants' pipelines.
        quick: whether only the quick scenarios ran.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "form": form,
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


def updated(before: Results, values: Results) -> Results:
    """Results of all scenarios: ``values``, and of those that it lacks what was there before."""
    known = {**before["scenarios"], **values["scenarios"]}
    scenarios = {name: known[name] for name in sorted(known)}
    passed = {
        variant: [of_one["variants"][variant]["passed"] for of_one in scenarios.values()]
        for variant in values["badges"]
    }
    badges = {variant: f"{sum(each)}/{len(each)}" for variant, each in passed.items()}
    return {**values, "scenarios": scenarios, "badges": badges}


def write(values: Results, file: Path) -> None:
    """Replace the file and, of the native form, the badges beside it.

    Raises:
        jsonschema.ValidationError: the values break ``conformance.schema.json``.
    """
    jsonschema.validate(values, json.loads(SCHEMA.read_text()))
    if values["form"] != NATIVE:
        _replace(file, values)
        return
    badges = file.parent / BADGES
    badges.mkdir(parents=True, exist_ok=True)
    # The badges go first and come last: none ever contradicts the file, whenever this is stopped.
    for stale in badges.glob("*.svg"):
        stale.unlink()
    _replace(file, values)
    for variant, value in values["badges"].items():
        (badges / f"{variant}.svg").write_text(badge(variant, value))


def _replace(file: Path, values: Results) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = hidden_sibling(file)
    temporary.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    temporary.replace(file)


def table(values: Results) -> Table:
    """Scenario by variant: whether it passed, and how many seconds it took."""
    variants = list(values["badges"])
    rows = [
        [name, *(_cell(scenario["variants"].get(variant)) for variant in variants)]
        for name, scenario in values["scenarios"].items()
    ]
    titles = ["scenario", *variants]
    return text_table(titles, [*rows, ["", *values["badges"].values()]], left=len(titles))


def problems(values: Results) -> Iterator[str]:
    """The first problem of each scenario and variant that did not pass."""
    for name, scenario in values["scenarios"].items():
        for variant, outcome in scenario["variants"].items():
            if not outcome["passed"]:
                yield f"{name}, {variant}: {_first_problem(outcome)}"


def _cell(outcome: Mapping[str, Any] | None) -> str:
    if outcome is None:
        return ""
    return f"{'✓' if outcome['passed'] else '✗'} {outcome['seconds']:.0f} s"


def _first_problem(outcome: Mapping[str, Any]) -> str:
    if outcome["failure"] is not None:
        return str(outcome["failure"])
    checks = outcome["checks"].items()
    return next(f"{name}: {check['detail']}" for name, check in checks if not check["passed"])


def _values(outcome: ScenarioOutcome) -> dict[str, Any]:
    return {
        "passed": outcome.passed,
        "checks": {name: asdict(check) for name, check in outcome.checks.items()},
        "seconds": outcome.seconds,
        "failure": outcome.failure,
    }


def _variants(outcomes: Outcomes) -> list[str]:
    """The variants that ran, in their order."""
    return list({variant: None for of_one in outcomes.values() for variant in of_one})


def _versions(outcomes: Outcomes) -> dict[str, dict[str, str]]:
    """Each variant's versions; empty where it never started."""
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
