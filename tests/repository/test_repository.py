"""The repository's own files agree: licence, version, commands, locks."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECTS = sorted(
    path for path in ROOT.glob("*/pyproject.toml") if "project" in tomllib.loads(path.read_text())
)
LOCKS = sorted(ROOT.glob("*/requirements.lock"))
Session = Callable[..., None]


class PartFailedError(Exception):
    """What a command of a session raises here instead of being run."""


class NoxStub(ModuleType):
    """As much of nox as the noxfile uses; nox itself is in no locked environment."""

    def __init__(self) -> None:
        super().__init__("nox")
        self.options = SimpleNamespace()
        self.sessions: dict[str, Session] = {}
        self.parametrized: dict[str, list[str]] = {}

    def session(
        self, function: Session | None = None, *, name: str = "", **_: object
    ) -> Session | Callable[[Session], Session]:
        """Register a session, decorated with or without arguments."""

        def register(function: Session) -> Session:
            self.sessions[name or function.__name__] = function
            return function

        return register if function is None else register(function)

    def parametrize(self, _: str, values: Sequence[str]) -> Callable[[Session], Session]:
        """Note the values of a parametrized session."""

        def register(function: Session) -> Session:
            self.parametrized[function.__name__] = list(values)
            return function

        return register

    def param(self, value: str, id: str) -> str:  # noqa: A002 (nox's name)
        """A value whose id is the value itself."""
        assert value == id
        return value

    def names(self) -> set[str]:
        """What ``nox -s`` accepts."""
        parts = {f"{n}({value})" for n, values in self.parametrized.items() for value in values}
        return set(self.sessions) | parts


class SessionStub:
    """A session that notes its commands; a command of ``failing`` fails."""

    def __init__(self, failing: str = "") -> None:
        self.posargs: list[str] = []
        self.commands: list[str] = []
        self.notified: list[str] = []
        self._failing = failing

    def install(self, *_: str) -> None:
        """Install nothing."""

    def run(self, *command: str, env: Mapping[str, str | None] | None = None, **_: object) -> None:
        """Note a command as a shell would be given it."""
        path = (env or {}).get("MYPYPATH")
        self.commands.append(" ".join([f"env MYPYPATH={path}"] * bool(path) + list(command)))
        if self._failing and self._failing in command:
            raise PartFailedError

    def notify(self, name: str, posargs: Sequence[str]) -> None:
        """Note a session that is to follow."""
        self.notified.append(name)


@pytest.fixture(scope="module")
def noxfile() -> NoxStub:
    """The sessions of the noxfile."""
    stub = NoxStub()
    specification = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "nox", stub)
        patch.setitem(sys.modules, "noxfile", module)  # where dataclasses look for annotations
        specification.loader.exec_module(module)
    return stub


def project(path: Path) -> dict[str, Any]:
    """The table ``project`` of a pyproject.toml."""
    table: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return table


@pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.parent.name)
def test_the_licence_is_that_of_the_repository(path: Path) -> None:
    """Every package has the licence whose text is in LICENSE."""
    lines = (ROOT / "LICENSE").read_text().split("\n")
    assert [line.strip() for line in lines[1:3]] == ["Apache License", "Version 2.0, January 2004"]
    assert project(path)["license"] == "Apache-2.0"
    for name in project(path).get("license-files", []):
        assert (path.parent / name).read_text() == (ROOT / "LICENSE").read_text()


def test_there_is_one_version() -> None:
    """All packages have the version at the top of the changelog."""
    released = re.findall(r"^## \[(\d[^]]*)\] - \d{4}-\d\d-\d\d$", changelog(), re.MULTILINE)
    parts = {"shared", "verification", "tests", "benchmarks", "docs"}
    assert parts < {path.parent.name for path in PROJECTS}
    assert {project(path)["version"] for path in PROJECTS} == {released[0]}


def changelog() -> str:
    return (ROOT / "CHANGELOG.md").read_text()


def test_every_session_has_a_docstring(noxfile: NoxStub) -> None:
    """`nox -l` describes each session in one sentence."""
    assert {"all", "tests", "lint", "compare", "cron", "tests-cron"} <= set(noxfile.sessions)
    for name, session in noxfile.sessions.items():
        first = (session.__doc__ or "").split("\n")[0]
        assert first.endswith((".", "shows it.")), name
        assert len(first) < 90, name


def test_a_failed_part_stops_no_other(noxfile: NoxStub) -> None:
    """Every later part of the test command is queued, and exists, before the shared tests fail."""
    session = SessionStub(failing="pytest")
    with pytest.raises(PartFailedError):
        noxfile.sessions["tests"](session)
    variants = {f"tests-{path.parent.name[:-5]}" for path in ROOT.glob("*_impl/run.py")}
    others = {"smoke(3.12)", "smoke(3.13)", "compare", "benchmark", "docs", "lint"}
    assert set(session.notified) == variants | others
    assert set(session.notified) <= noxfile.names()


def test_pre_commit_checks_what_lint_checks(noxfile: NoxStub) -> None:
    """The hook before a commit is the session `lint` itself, so that no check can be missing."""
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"^\s+entry: (.+)$", text, re.MULTILINE) == ["nox -R -s lint"]
    assert "lint" in noxfile.names()


def test_the_workflow_runs_what_the_repository_has(noxfile: NoxStub) -> None:
    """The workflow lints, tests on three Pythons, builds the docs, and runs the gate."""
    text = (ROOT / ".github" / "workflows" / "checks.yml").read_text()
    runs = re.findall(r"- run: (.+)$", text, re.MULTILINE)
    assert {"nox -s lint", "nox -s tests-shared", "nox -s docs", ".ci/run"} <= set(runs)
    assert 'python: ["3.11", "3.12", "3.13"]' in text
    assert sessions_named_in("\n".join(runs)) <= noxfile.names()
    assert "permissions:\n  contents: read\n" in text
    assert all(
        re.search(r"@v\d+\.\d+\.\d+$", use) for use in re.findall(r"uses: (.+)$", text, re.M)
    )


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_commands_in_the_documents_exist(noxfile: NoxStub, name: str) -> None:
    """Every `nox -s NAME` of a document is a session."""
    named = sessions_named_in((ROOT / name).read_text()) - {"NAME"}
    assert len(named) > 3
    assert named <= noxfile.names()


def sessions_named_in(text: str) -> set[str]:
    quoted = re.findall(r'nox -s "([^"]+)"', text)
    return {*quoted, *re.findall(r"nox -s ([\w-]+)", text)}


def test_the_gate_runs_the_test_command_of_the_readme() -> None:
    """`.ci/run` finds one command in the README, and it is the one that runs every test."""
    script = (ROOT / ".ci" / "run").read_text()
    (extract,) = re.findall(r"^command=\$\((.+)\)$", script, re.MULTILINE)
    done = subprocess.run(
        ["bash", "-c", extract], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.count("\n") == 1
    assert done.stdout.endswith("&& .venv/bin/nox -s tests\n")


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.parent.name)
def test_locks_name_no_machine(path: Path) -> None:
    """A lock has hashes, and neither a host nor a path of the machine that made it."""
    text = path.read_text()
    assert "--hash=sha256:" in text
    assert re.findall(r"://|--index|--find-links|^-e|file:|^/", text, re.MULTILINE) == []


def test_no_file_names_a_path_of_a_machine() -> None:
    """No file under version control contains the home or working folder of who wrote it."""
    git = ["git", "grep", "-IlE", r"(^|[^A-Za-z0-9_.$}>-])/(root|home/[a-z]+|work|Users)/"]
    found = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    if found.returncode > 1:
        pytest.skip("this is not a git checkout")
    assert found.stdout.splitlines() == []


@pytest.mark.parametrize(
    ("call", "module"),
    [("read_parquet|parquet_scan", "parquet.py"), (r"duckdb\.connect", "duckdb_connection.py")],
)
def test_duckdb_is_called_in_one_place(call: str, module: str) -> None:
    """One module reads Parquet, under its exact path; one connects, without extensions."""
    folders = [ROOT / "shared", ROOT / "verification", ROOT / "benchmarks", *ROOT.glob("*_impl")]
    found = [
        path.relative_to(ROOT)
        for folder in folders
        for path in folder.rglob("*.py")
        if not path.name.startswith("test_") and re.search(rf"({call})\(", path.read_text())
    ]
    assert found == [Path("shared/ecommerce_pipeline/storage") / module]
