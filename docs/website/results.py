"""The committed results. Reading is strict: a missing file or key is an error that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER, name_in_form
from pipeline_verification.conformance.files import results_name
from pipeline_verification.harness.environments import (
    CONTROL,
    form_names,
    form_of_result,
    has_form,
)

CONFORMANCE = "conformance"
Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """One variant's numbers for one metric: a summary, or why there is none.

    Attributes:
        summary: ``n``, ``median``, ``min``, ``max`` and ``ratio``; None where there is no number.
        reason: why there is no number, or why some of the samples failed; else empty.
    """

    summary: Json | None
    reason: str = ""


class Results:
    """The folder of committed results."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, Json] = {}

    def read(self, name: str) -> Json:
        """One result file.

        Raises:
            PipelineError: it is missing, no JSON, or of a quick run, which measures nothing.
        """
        if name not in self._files:
            self._files[name] = self._read(name)
        return self._files[name]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, name: str) -> Json:
        path = self._path(name)
        if not path.is_file():
            raise PipelineError(f"{path} is missing", f"make it with: {_command(name)}")
        try:
            result: Json = _strict(json.loads(path.read_text()), path)
        except ValueError as error:
            raise PipelineError(
                f"{path} is no JSON: {error}", f"make it with: {_command(name)}"
            ) from None
        if result.get("quick"):
            raise PipelineError(
                f"{path} is of a quick run", f"measure in full with: {_command(name)}"
            )
        return result

    def get(self, name: str, *keys: str) -> Any:  # noqa: ANN401 (JSON)
        """The value below ``keys`` in a result file.

        Raises:
            PipelineError: a key is missing; the message names file and keys.
        """
        return reduce(getitem, keys, self.read(name))

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks that measure every variant, sorted by name."""
        names = (path.stem for path in sorted(self.folder.glob("*.json")))
        return [name for name in names if "cases" in self.read(name) and self.is_of_variants(name)]

    @property
    def conformance(self) -> dict[str, str]:
        """The results of the conformance suite by the form of the pipelines, the native ones first.

        Raises:
            PipelineError: there are none.
        """
        names = {form: Path(results_name(form)).stem for form in form_names()}
        found = {form: name for form, name in names.items() if self._path(name).is_file()}
        if not found:
            self.read(CONFORMANCE)  # raises, with the command that makes it
        return found

    @property
    def main_conformance(self) -> str:
        """The first of them."""
        return next(iter(self.conformance.values()))

    def scenarios(self, conformance: str) -> Json:
        """The scenarios by name, with their outcomes."""
        scenarios: Json = self.get(conformance, "scenarios")
        return scenarios

    def outcome(self, conformance: str, scenario: str, variant: str) -> Json | None:
        """A variant's outcome in a scenario; None where it lacks the form."""
        if not has_form(variant, self.get(conformance, "form")):
            return None
        outcome: Json = self.get(conformance, "scenarios", scenario, "variants", variant)
        return outcome

    def why_not_equal(self, variant: str) -> str:
        """The first scenario in which a variant was not equal, and why; empty where it was."""
        return next(self._differences(variant), "")

    def faults(self, variant: str) -> dict[str, Sequence[Json]]:
        """The injected faults of a variant by the form of its pipeline.

        Raises:
            PipelineError: there are none.
        """
        names = {form: name_in_form(f"faults-{variant}", form) for form in form_names()}
        found = {form: name for form, name in names.items() if self._path(name).is_file()}
        if not found:
            self.read(names[NATIVE])  # raises, with the command that makes it
        return {form: self.get(name, "faults") for form, name in found.items()}

    def has_case(self, benchmark: str, case: str) -> bool:
        """Whether a case of a benchmark was measured."""
        return case in self.get(benchmark, "cases")

    @staticmethod
    def applies(case: str, variant: str) -> bool:
        """Whether a variant has the form that a case is of."""
        return has_form(variant, form_of_result(case))

    def is_of_variants(self, benchmark: str) -> bool:
        """Whether a benchmark compares the variants, not methods for a part of the pipeline."""
        return bool(self.get(benchmark, "control") == CONTROL)

    def measured(self, benchmark: str, case: str, metric: str, variant: str) -> Measured:
        """A variant's numbers; a variant that is not equal has none."""
        if self.is_of_variants(benchmark) and (reason := self.why_not_equal(variant)):
            return Measured(None, f"no number, as it is not equal: {reason}")
        found: Json = self.get(benchmark, "cases", case, "variants", variant)
        failed = _failed(found["samples"])
        if not any(metric in sample["values"] for sample in found["samples"]):
            return Measured(None, failed or "does not apply")
        return Measured(found["summary"][metric], failed)

    def _differences(self, variant: str) -> Iterator[str]:
        for conformance in self.conformance.values():
            for name, scenario in self.scenarios(conformance).items():
                outcome = self.outcome(conformance, name, variant)
                if outcome and not outcome["passed"]:
                    yield f"{scenario['title']}: {why(outcome)}"


class _Strict(dict[str, Any]):
    """A JSON object whose error for a missing key names the file and the path of keys."""

    def __init__(self, values: Mapping[str, Any], file: Path, path: tuple[str, ...]) -> None:
        within = {key: _strict(value, file, (*path, key)) for key, value in values.items()}
        super().__init__(within)
        self._file, self._path = file, path

    # Called by ``[]`` alone: ``get`` of a mapping still returns its default.
    def __missing__(self, key: str) -> Any:  # noqa: ANN401 (as its base has it)
        where = " / ".join((*self._path, key))
        hint = f"make it with: {_command(self._file.stem)}"
        raise PipelineError(f"{self._file} has no {where}", hint)


def _strict(value: Any, file: Path, path: tuple[str, ...] = ()) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, dict):
        return _Strict(value, file, path)
    if isinstance(value, list):
        return [_strict(item, file, (*path, str(index))) for index, item in enumerate(value)]
    return value


def _failed(samples: Sequence[Json]) -> str:
    """How many samples failed, and why the first of them did; empty where none did."""
    reasons = [sample["failure"] for sample in samples if sample["failure"]]
    return f"{len(reasons)} of {len(samples)} failed: {reasons[0]}" if reasons else ""


def why(outcome: Json) -> str:
    """Why a variant failed a scenario."""
    if outcome["failure"]:
        return str(outcome["failure"])
    checks = outcome["checks"].items()
    return "; ".join(f"{name}: {c['detail']}" for name, c in checks if not c["passed"])


def _command(name: str) -> str:
    """The command that makes a result file."""
    if name.startswith(CONFORMANCE):
        form = name.removeprefix(CONFORMANCE).removeprefix("-")
        return f"nox -s compare -- --form {form}" if form else "nox -s compare"
    if name.startswith("faults-"):
        return f"nox -s {name.removesuffix(f'-{STEP_SERVER}')}"
    return f"nox -s benchmark -- {name}"
