"""The results file: every sample and its summary, in the shape of ``results.schema.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema

from ecommerce_pipeline.files.atomic import atomic_file
from measuring.options import Options
from measuring.partial import Partial
from measuring.plan import Plan
from measuring.summary import summarise, with_derived

SCHEMA = Path(__file__).parents[1] / "results.schema.json"
SCHEMA_VERSION = 1


def results(
    plan: Plan,
    partial: Partial,
    options: Options,
    variants: Sequence[str],
    cases: Sequence[str],
) -> dict[str, Any]:
    """All that was measured, ready for JSON."""
    samples = with_derived(plan, partial, plan.control)
    return {
        "schema_version": SCHEMA_VERSION,
        "verb": plan.verb,
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
                    variant: {
                        "samples": [asdict(sample) for sample in samples.get((case, variant), [])],
                        "summary": summarise(
                            plan.cases[case],
                            samples.get((case, variant), []),
                            samples.get((case, plan.control), []),
                        ),
                    }
                    for variant in variants
                },
            }
            for case in cases
        },
    }


def write(values: dict[str, Any], file: Path) -> Path:
    """Replace the file atomically, once its content is valid by the schema; returns the file."""
    validate(values)
    with atomic_file(file, point="record") as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    return file


def validate(values: dict[str, Any]) -> None:
    """Hold values against the schema.

    Raises:
        jsonschema.ValidationError: they are not of its shape.
    """
    jsonschema.validate(values, json.loads(SCHEMA.read_text()))
