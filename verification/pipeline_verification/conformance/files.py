"""Where the results of the conformance suite are."""

from __future__ import annotations

from ecommerce_pipeline.harness.variant import name_in_form


def results_name(form: str) -> str:
    """The name of the results file of a form."""
    return f"{name_in_form('conformance', form)}.json"
