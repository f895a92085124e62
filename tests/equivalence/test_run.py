"""The run is right: ``RUN_CHECKS`` one by one, each as a test of its own."""

from __future__ import annotations

import pytest

from pipeline_verification.compare import report
from pipeline_verification.verdict import RUN_CHECKS, FinishedRunEvidence, RunCheck


@pytest.mark.parametrize("check", RUN_CHECKS, ids=lambda check: check.name.replace(" ", "-"))
def test_run(check: RunCheck, evidence: FinishedRunEvidence) -> None:
    """A right run has no problem: in a table, its published copy, its dashboard or its steps."""
    if not check.applies_to(evidence):
        pytest.skip("which versions a run saw depends on the order, unless it is day by day")
    problems = check.problems(evidence)
    assert not problems, report(problems)
