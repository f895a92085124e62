"""The list of mutants fits the product, and the committed results fit the list."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipeline_verification.harness.environments import ROOT


def load_runner() -> ModuleType:
    """The runner, which is a script beside this file and no part of a package."""
    path = Path(__file__).with_name("run.py")
    specification = importlib.util.spec_from_file_location("mutation_runner", path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # where dataclasses look for their module
    specification.loader.exec_module(module)
    return module


runner = load_runner()
MUTANTS = runner.read_mutants()


def test_each_mutant_has_its_own_name() -> None:
    """No two mutants share an id."""
    names = [mutant.id for mutant in MUTANTS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: str(mutant.id))
def test_a_mutant_changes_its_file_and_names_tests_that_exist(mutant: Any) -> None:  # noqa: ANN401 (its class)
    """A mutant's text occurs exactly once in its file, and its test files are there."""
    content = (ROOT / mutant.file).read_text()
    assert mutant.mutated(content) != content
    assert all((ROOT / test).is_file() for test in mutant.tests)


def test_the_committed_results_are_of_these_mutants() -> None:
    """The results list every mutant of the list, and at least 90 % of them were caught."""
    results = json.loads(runner.RESULTS.read_text())
    assert list(results["outcomes"]) == [mutant.id for mutant in MUTANTS]
    assert results["score"] == round(runner.score(results["outcomes"]), 3)
    assert results["score"] >= runner.MIN_SCORE


def test_the_contributor_guide_states_the_score() -> None:
    """CONTRIBUTING.md gives the committed number of mutants and of those caught."""
    results = json.loads(runner.RESULTS.read_text())
    caught = results["mutants"] - len(results["survivors"])
    stated = f"**Score: {caught} of {results['mutants']} caught**"
    assert stated in (ROOT / "CONTRIBUTING.md").read_text()
