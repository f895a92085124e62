"""The results file: every sample and its summary, in the form of ``results.schema.json``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from ecommerce_pipeline.files.atomic import atomic_file
from measuring.options import BenchmarkOptions
from measuring.partial import Partial, Sample
from measuring.plan import Case, Plan
from measuring.summary import summarise, with_derived

SCHEMA = Path(__file__).parents[1] / "results.schema.json"
SCHEMA_VERSION = 2
PROVENANCE = ("date", "rounds", "machine", "code", "versions")
"""What a file says of its cases, and a case that was measured earlier of itself."""


def results(
    plan: Plan,
    partial: Partial,
    options: BenchmarkOptions,
    variants: Sequence[str],
    cases: Sequence[str],
) -> dict[str, Any]:
    """All that was measured, ready for JSON."""
    samples = with_derived(plan, partial, plan.control)
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark": plan.benchmark,
        "title": plan.title,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "quick": options.quick,
        "rounds": options.rounds,
        "machine": partial.identity["machine"],
        "code": partial.identity["code"],
        "versions": partial.versions,
        "control": plan.control,
        "cases": {
            case: {
                "description": plan.cases[case].description,
                "metrics": {
                    name: {"unit": metric.unit, "title": metric.title}
                    for name, metric in plan.cases[case].metrics.items()
                },
                "variants": {
                    variant: _variant(
                        plan.cases[case],
                        samples.get((case, variant), []),
                        samples.get((case, plan.control), []),
                        partial.notes.get(case, {}).get(variant),
                    )
                    for variant in variants
                    if plan.has(case, variant)
                },
            }
            for case in cases
        },
    }


def _variant(
    case: Case,
    samples: Sequence[Sample],
    control: Sequence[Sample],
    notes: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """One variant's samples and summary in a case, with its notes where there are any."""
    values: dict[str, Any] = {
        "samples": [asdict(sample) for sample in samples],
        "summary": summarise(case, samples, control),
    }
    return {**values, "notes": dict(notes)} if notes else values


def with_kept_cases(values: dict[str, Any], earlier: Path, plan: Plan) -> dict[str, Any]:
    """The results with the plan's other cases from an earlier file, in the plan's order.

    Each kept case says in ``measured`` when, on what and with which versions it was measured.
    """
    before = json.loads(earlier.read_text())
    provenance = {name: before[name] for name in PROVENANCE}
    kept = {name: {"measured": provenance, **case} for name, case in before["cases"].items()}
    every = {**kept, **values["cases"]}
    return {**values, "cases": {name: every[name] for name in plan.cases if name in every}}


def write(values: dict[str, Any], file: Path) -> Path:
    """Replace the file atomically, once its content is valid by the schema; returns the file."""
    validate(values)
    with atomic_file(file) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    return file


def validate(values: dict[str, Any]) -> None:
    """Validate values by the schema.

    Raises:
        jsonschema.ValidationError: they do not conform to it.
    """
    jsonschema.validate(values, json.loads(SCHEMA.read_text()))
