"""Mutation testing: changes the product in small ways and reports which changes the tests catch.

    nox -s mutation                     # every mutant of mutants.toml
    nox -s mutation -- load-older-row-wins sql-tax-negated

The checkout is not touched: each of the parallel jobs has a copy of the product and its tests,
into which one mutant at a time is written. The outcomes replace those of the same mutants in
``results.json`` beside this file; the exit status is 1 when fewer than 90 % were caught.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).with_name("mutants.toml")
RESULTS = Path(__file__).with_name("results.json")
COPIED = ("shared", "verification", "tests", "dbt_project", "cron_impl", "pyproject.toml")
NOT_COPIED = ("__pycache__", "target", ".pytest_cache", ".hypothesis")
MIN_SCORE = 0.9
TIMEOUT_SECONDS = 300
CAUGHT, SURVIVED, TIMED_OUT = "caught", "survived", "timed out"
PYTEST_PASSED, PYTEST_FAILED, PYTEST_INTERRUPTED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change, and the tests that should fail with it.

    Attributes:
        id: its name in the results.
        file: the changed file, below the repository.
        text: occurs once in the file.
        replacement: takes its place.
        tests: the test files to run.
    """

    id: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    def mutated(self, content: str) -> str:
        """The file's content with the change.

        Raises:
            ValueError: the text does not occur exactly once.
        """
        if content.count(self.text) != 1:
            raise ValueError(
                f"mutant {self.id}: its text occurs {content.count(self.text)} times in {self.file}"
            )
        return content.replace(self.text, self.replacement)


def read_mutants(file: Path = MUTANTS) -> list[Mutant]:
    """Every mutant of the list."""
    entries = tomllib.loads(file.read_text())["mutants"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


class Copy:
    """A copy of the product and its tests, in which one mutant at a time is tested."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in COPIED:
            source, target = ROOT / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_COPIED))
            else:
                shutil.copy(source, target)
        # The checkout is installed in this environment; the path comes before what is installed.
        path = os.pathsep.join(str(folder / name) for name in ("shared", "verification"))
        self._environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        self._require_own_package()

    def test(self, mutant: Mutant) -> str:
        """Whether a test catches the mutant; afterwards the copy is as it was."""
        path = self._folder / mutant.file
        original = path.read_text()
        path.write_text(mutant.mutated(original))
        try:
            status = self.run_tests(mutant.tests)
        except subprocess.TimeoutExpired:
            return TIMED_OUT
        finally:
            path.write_text(original)
        if status not in (PYTEST_PASSED, PYTEST_FAILED, PYTEST_INTERRUPTED):
            raise RuntimeError(f"mutant {mutant.id}: pytest ended with status {status}")
        return SURVIVED if status == PYTEST_PASSED else CAUGHT

    def run_tests(
        self, tests: Sequence[str], timeout_seconds: float | None = TIMEOUT_SECONDS
    ) -> int:
        """Run test files until the first failure; pytest's exit status."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            timeout=timeout_seconds,
            check=False,
        )
        return done.returncode

    def _require_own_package(self) -> None:
        code = "import ecommerce_pipeline; print(ecommerce_pipeline.__file__)"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        if not Path(done.stdout.strip()).is_relative_to(self._folder):
            raise RuntimeError(f"the tests would import {done.stdout.strip()}, not the copy")


@contextmanager
def copies(count: int, mutants: Sequence[Mutant]) -> Iterator[Callable[[Mutant], str]]:
    """A function that tests a mutant in whichever of the copies is free.

    Raises:
        RuntimeError: the tests of the mutants fail without any mutant, so they can catch none.
    """
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        free: SimpleQueue[Copy] = SimpleQueue()
        for number in range(count):
            free.put(Copy(Path(folder).resolve() / str(number)))
        copy = free.get()
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        say(f"running {len(tests)} test files without a mutant; this takes a few minutes")
        if copy.run_tests(tests, timeout_seconds=None) != PYTEST_PASSED:
            raise RuntimeError("these tests fail without a mutant; run them: " + " ".join(tests))
        free.put(copy)

        def test(mutant: Mutant) -> str:
            copy = free.get()
            try:
                return copy.test(mutant)
            finally:
                free.put(copy)

        yield test


def run(mutants: Sequence[Mutant], jobs: int) -> dict[str, str]:
    """Test every mutant; the outcome of each by its id, in the order of the list."""
    outcomes: dict[str, str] = {}
    with copies(jobs, mutants) as test, ThreadPoolExecutor(jobs) as pool:
        tests = {pool.submit(test, mutant): mutant for mutant in mutants}
        for future in as_completed(tests):
            mutant = tests[future]
            try:
                outcomes[mutant.id] = future.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)  # or the error shows after all the others
                raise
            say(f"{len(outcomes):>3} of {len(mutants)}  {outcomes[mutant.id]:<9}  {mutant.id}")
    return {mutant.id: outcomes[mutant.id] for mutant in mutants}


def score(outcomes: dict[str, str]) -> float:
    """The share of mutants that were caught; one that made a test hang was noticed, too."""
    return sum(outcome != SURVIVED for outcome in outcomes.values()) / len(outcomes)


def write_results(outcomes: dict[str, str], known: Sequence[str]) -> None:
    """Replace these outcomes in the committed results; what is no longer known goes."""
    earlier = json.loads(RESULTS.read_text())["outcomes"] if RESULTS.exists() else {}
    both = {**earlier, **outcomes}
    kept = {name: both[name] for name in known if name in both}
    values = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "mutants": len(kept),
        "score": round(score(kept), 3),
        "survivors": [name for name, outcome in kept.items() if outcome == SURVIVED],
        "outcomes": kept,
    }
    RESULTS.write_text(json.dumps(values, indent=2) + "\n")


def say(line: str) -> None:
    """Print one line at once."""
    print(line, flush=True)  # noqa: T201 (the command's own output)


def main(arguments: Sequence[str]) -> int:
    """Run the mutants named, or all; 0 when enough of them were caught."""
    known = {mutant.id: mutant for mutant in read_mutants()}
    parser = argparse.ArgumentParser(prog="nox -s mutation --", description=__doc__)
    parser.add_argument("ids", nargs="*", metavar="ID", help="some mutants  [default: all]")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time  [default: 2]")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.ids if name not in known]:
        parser.error(f"there is no mutant {', '.join(unknown)}; see {MUTANTS}")
    chosen = [known[name] for name in options.ids] or list(known.values())
    outcomes = run(chosen, options.jobs)
    say(f"caught {score(outcomes):.0%} of {len(outcomes)}")
    for name, outcome in outcomes.items():
        if outcome == SURVIVED:
            say(f"survived: {name} in {known[name].file}")
    write_results(outcomes, list(known))
    say(f"the results are in {RESULTS}")
    return 0 if score(outcomes) >= MIN_SCORE else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
