"""Environments are built side by side; who needs one waits for that one only."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from pipeline_verification.harness import environment_builds
from pipeline_verification.harness.environment_builds import EnvironmentBuilds

PATIENCE_SECONDS = 60.0
NAMES = ("first", "second", "third")
# Builds end when the test says so: a file of the variant's name lets the build end.
BUILD = """
import pathlib, sys, time
begun, gate, python, code = map(pathlib.Path, sys.argv[1:])
begun.write_text("")
while not gate.exists():
    time.sleep(0.01)
python.write_text("")
sys.exit(int(code.name))
"""
ENDLESS = """
import sys, time
from pathlib import Path
from pipeline_verification.harness.environment_builds import EnvironmentBuilds
build = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"]
folder = Path(sys.argv[1])
with EnvironmentBuilds(lambda name: build, ("first",), logs=folder, find=Path) as builds:
    builds.interpreter("first")
"""


class Builds:
    """Builds in a folder whose end the test decides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self.codes: dict[str, int] = {}
        self.builds = EnvironmentBuilds(
            self._command, NAMES, logs=folder / "logs", find=self.find, say=self.lines.append
        )

    def find(self, name: str) -> Path:
        python = self.folder / f"{name}.python"
        if not python.exists():
            raise PipelineError(f"the environment of {name} is missing", "build it")
        return python

    def begun(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.begun"))

    def let_end(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.gate").touch()

    def _command(self, name: str) -> Sequence[str]:
        files = [str(self.folder / f"{name}.{kind}") for kind in ("begun", "gate", "python")]
        return [sys.executable, "-c", BUILD, *files, str(self.codes.get(name, 0))]


@pytest.fixture
def builds(tmp_path: Path) -> Iterator[Builds]:
    made = Builds(tmp_path)
    with made.builds:
        yield made


def test_a_ready_environment_waits_for_no_other(builds: Builds) -> None:
    """The first environment can be used while the second is built; the third is still queued."""
    builds.let_end("first")
    assert builds.builds.interpreter("first") == builds.folder / "first.python"
    assert not (builds.folder / "second.python").exists()


def test_no_more_than_two_are_built_at_a_time(builds: Builds) -> None:
    """Two builds run, the first of the names; the third begins when one of them has ended."""
    builds.builds.start()
    assert wait_until(lambda: len(builds.begun()) == 2, timeout_seconds=PATIENCE_SECONDS)
    assert builds.begun() == ["first", "second"]
    builds.let_end("second", "third")
    assert builds.builds.interpreter("third").exists()
    assert not (builds.folder / "first.python").exists()


def test_a_failed_build_fails_its_variant_alone(builds: Builds) -> None:
    """A failed build is reported with its log's path, and the other variants are ready."""
    builds.codes["second"] = 3
    builds.let_end(*NAMES)
    log = builds.folder / "logs" / "second.log"
    with pytest.raises(PipelineError, match=f"environment of second was not built; read {log}"):
        builds.builds.interpreter("second")
    assert log.exists()
    assert builds.builds.interpreter("third").exists()
    assert len(builds.builds.wait_for_all()) == 1


def test_an_unknown_variant_is_left_to_the_search(builds: Builds) -> None:
    """A name without a build raises what the search for its environment raises."""
    builds.let_end(*NAMES)
    with pytest.raises(PipelineError, match="the environment of nowhere is missing"):
        builds.builds.interpreter("nowhere")


def test_progress_names_what_is_waited_for(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line says how many are built and how long it takes, the next how many are ready."""
    monkeypatch.setattr(environment_builds, "PROGRESS_SECONDS", 0.01)
    builds.lines.clear()

    def say(line: str) -> None:
        builds.lines.append(line)
        if "2 of 3 ready" in line:
            builds.let_end("third")

    builds.builds._say = say
    builds.let_end("first", "second")
    builds.builds.interpreter("third")
    assert builds.lines[0].startswith("building 3 of 3 environments, 2 at a time, about a minute")
    assert builds.lines[-1].startswith("waiting for the environment of third: 2 of 3 ready after")


def test_built_environments_are_only_checked(builds: Builds) -> None:
    """Where nothing is missing, no first build is announced."""
    for name in NAMES:
        (builds.folder / f"{name}.python").touch()
    builds.builds.start()
    assert builds.lines[0].startswith("checking 3 environments, 2 at a time, a few seconds each")


def test_leaving_ends_what_is_still_built(tmp_path: Path) -> None:
    """After the block no build runs, and none that was queued begins."""
    made = Builds(tmp_path)
    with made.builds:
        made.builds.start()
        assert wait_until(lambda: len(made.begun()) == 2, timeout_seconds=PATIENCE_SECONDS)
        running = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs(running, timeout=PATIENCE_SECONDS)
    assert not [p for p in alive if str(tmp_path) in " ".join(p.cmdline())]
    assert made.begun() == ["first", "second"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_build_ends_with_its_owner(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl+C, or SIGKILL of the process that builds, leaves no build behind."""
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as owner:
        log = tmp_path / "first.log"
        assert wait_until(
            lambda: log.exists() and "begun" in log.read_text(), timeout_seconds=PATIENCE_SECONDS
        )
        tree = psutil.Process(owner.pid).children(recursive=True)
        owner.send_signal(number)
        owner.wait()
    assert tree
    _, alive = psutil.wait_procs(tree, timeout=PATIENCE_SECONDS)
    assert alive == []
