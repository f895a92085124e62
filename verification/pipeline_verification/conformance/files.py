"""Where the results of the conformance suite are."""

from __future__ import annotations

from ecommerce_pipeline.harness.variant import NATIVE


def results_name(form: str) -> str:
    """The name of the results file of a form."""
    return "conformance.json" if form == NATIVE else f"conformance-{form}.json"
