"""What this repository can do; `nox -l` lists it.

Each session works in an environment of its own, made from its own lock file.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.sessions = ["cron"]

ROOT = Path(__file__).parent
CONTROL = "cron"
QUIET = {
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    # Compiled modules halve the start-up of dbt, which every run pays.
    "PYTHONDONTWRITEBYTECODE": None,
}


@dataclass(frozen=True)
class Environment:
    """A folder with a pyproject.toml, its dependency groups and its requirements.lock."""

    folder: str
    groups: tuple[str, ...]

    @property
    def lock(self) -> str:
        """The lock's path below the repository."""
        return f"{self.folder}/requirements.lock"


VARIANTS = {
    run.parent.name.removesuffix("_impl"): Environment(run.parent.name, ("test", "build"))
    for run in sorted(ROOT.glob("*_impl/run.py"))
}
TESTS = Environment("tests", ("test", "lint", "build"))
BENCHMARKS = Environment("benchmarks", ("build",))
CHECKED_BY_MYPY = ("shared/ecommerce_pipeline", "tests", "benchmarks")


def _define_variant(name: str, environment: Environment) -> None:
    def run(session: nox.Session) -> None:
        _install(session, environment)
        _run_and_prove(session, name, environment, session.posargs)

    def tests(session: nox.Session) -> None:
        _install(session, environment)
        test_file = f"{environment.folder}/test_pipeline.py"
        _pytest(session, test_file, "-o", f"pythonpath={environment.folder}")
        run_dir = str(Path(session.create_tmp()) / "run")
        _run_and_prove(session, name, environment, ["--days", "2", "--run-dir", run_dir])

    def faults(session: nox.Session) -> None:
        _install(session, environment)
        test_file = f"{environment.folder}/test_faults.py"
        _pytest(session, test_file, "-o", f"pythonpath={environment.folder}", *session.posargs)

    run.__doc__ = f"Run the pipeline under {name} and prove what it leaves."
    tests.__doc__ = f"Test the {name} variant: its unit tests, then two days for real."
    faults.__doc__ = f"Kill the {name} variant's processes while it runs; write what happened."
    nox.session(run, name=name)
    nox.session(tests, name=f"tests-{name}", default=False)
    nox.session(faults, name=f"faults-{name}", default=False)


for _name, _environment in VARIANTS.items():
    _define_variant(_name, _environment)


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run every test: the shared parts here, then each variant in its own environment."""
    _install(session, TESTS)
    _pytest(session, "tests", "--ignore=tests/equivalence", *session.posargs)
    for name in VARIANTS:
        session.notify(f"tests-{name}", posargs=[])
    session.notify("lint", posargs=[])


@nox.session(default=False)
def compare(session: nox.Session) -> None:
    """Run all variants with the same options; compare each with the control and the oracle."""
    _install(session, TESTS)
    folders = {name: ROOT / "runs" / "compare" / name for name in VARIANTS}
    for name, folder in folders.items():
        nox_command = [sys.executable, "-m", "nox", "-s", name, "--"]
        session.run(*nox_command, *session.posargs, "--run-dir", str(folder), external=True)
    for name in folders.keys() - {CONTROL}:
        against = ["--against", str(folders[CONTROL])]
        _pytest(session, "tests/equivalence", "--run-dir", str(folders[name]), *against)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check style, format, types and SQL."""
    _install(session, TESTS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run(
        "mypy",
        "--explicit-package-bases",
        *CHECKED_BY_MYPY,
        env={"MYPYPATH": "shared:tests:benchmarks/extract"},
    )
    for environment in VARIANTS.values():
        session.run("mypy", environment.folder)
    session.run("sqlfluff", "lint", "dbt_project", env=QUIET)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write every requirements.lock anew: exact versions with hashes, no host names."""
    session.install("uv")
    for environment in (*VARIANTS.values(), TESTS, BENCHMARKS):
        with session.chdir(environment.folder):
            session.run(
                *("uv", "pip", "compile", "pyproject.toml", "-o", "requirements.lock"),
                *("--universal", "--python-version=3.11", "--generate-hashes", "--no-annotate"),
                *("--no-emit-package=ecommerce-pipeline", "--no-emit-package=pipeline-proof"),
                *("--custom-compile-command", "nox -s lock", "--quiet", "--upgrade"),
                *(f"--group={group}" for group in environment.groups),
            )


@nox.session(default=False)
def benchmark(session: nox.Session) -> None:
    """Measure extraction: ours, pandas, connectorx and dlt beside the \\copy floor."""
    _install(session, BENCHMARKS)
    session.run("python", "benchmarks/extract/bench.py", *session.posargs, env=QUIET)


def _install(session: nox.Session, environment: Environment) -> None:
    """Install what the lock names and our own packages, and nothing that is not locked."""
    session.install("--no-deps", "--require-hashes", "-r", environment.lock)
    session.install("--no-deps", "--no-build-isolation", "-e", "shared", "-e", "tests")


def _run_and_prove(
    session: nox.Session, name: str, environment: Environment, arguments: list[str]
) -> None:
    """Run the variant, then hold what it left against the oracle."""
    session.run("python", f"{environment.folder}/run.py", *arguments, env=QUIET)
    if "--help" in arguments:
        return
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--run-dir", default=str(ROOT / "runs" / name))
    run_dir = parser.parse_known_args(arguments)[0].run_dir
    _pytest(session, "tests/equivalence", "--run-dir", run_dir)


def _pytest(session: nox.Session, *arguments: str) -> None:
    session.run("python", "-m", "pytest", "-q", *arguments, env=QUIET)
