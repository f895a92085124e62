"""What this repository can do; `nox -l` lists it.

Each session works in an environment of its own, made from its own lock file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.sessions = ["all"]

ROOT = Path(__file__).parent
CONTROL = "cron"
QUIET = {
    "DO_NOT_TRACK": "1",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    # Compiled modules halve the start-up of dbt, which every run pays.
    "PYTHONDONTWRITEBYTECODE": None,
}
# What Ctrl+C interrupts has services to stop, for which nox would leave it half a second.
GRACEFUL_STOP = {"interrupt_timeout": 120.0, "terminate_timeout": 60.0}

# The shared tests wait more than they compute; a module's tests stay together, as its fixtures do.
SIDE_BY_SIDE = ("--numprocesses=logical", "--maxprocesses=4", "--dist=loadscope")


@dataclass(frozen=True)
class LockedEnvironment:
    """A folder with a pyproject.toml, its dependency groups and its requirements.lock."""

    folder: str
    groups: tuple[str, ...]

    @property
    def lock(self) -> str:
        """The lock's path below the repository."""
        return f"{self.folder}/requirements.lock"


VARIANTS = {
    run.parent.name.removesuffix("_impl"): LockedEnvironment(run.parent.name, ("test", "build"))
    for run in sorted(ROOT.glob("*_impl/run.py"))
}
VERIFICATION = LockedEnvironment("verification", ("build",))
TESTS = LockedEnvironment("tests", ("test", "lint", "build"))
BENCHMARKS = LockedEnvironment("benchmarks", ("build",))
DOCS = LockedEnvironment("docs", ("test", "build"))
CHECKED_BY_MYPY = {  # folders and where their modules are found
    ("shared/ecommerce_pipeline", "verification/pipeline_verification", "tests"): (
        "shared:verification:tests:benchmarks"
    ),
    ("benchmarks",): "shared:verification:benchmarks:benchmarks/definitions/extract/processes",
    ("docs",): "shared:verification:docs",
}


def _define_variant(name: str, environment: LockedEnvironment) -> None:
    faults_file = f"{environment.folder}/test_faults.py"

    def run(session: nox.Session) -> None:
        _install(session, environment)
        _run_and_verify(session, environment, session.posargs)

    def tests(session: nox.Session) -> None:
        _test_variant(session, name, environment.folder, f"--ignore={faults_file}")

    def faults(session: nox.Session) -> None:
        _test_variant(session, name, faults_file)

    run.__doc__ = f"Run the pipeline under {name} and prove what it leaves."
    tests.__doc__ = f"Test the {name} variant in its environment."
    faults.__doc__ = f"Kill the {name} variant's processes while it runs; write what happened."
    nox.session(run, name=name)
    nox.session(tests, name=f"tests-{name}", default=False, venv_backend="none")
    if (ROOT / faults_file).exists():
        nox.session(faults, name=f"faults-{name}", default=False, venv_backend="none")


for _name, _environment in VARIANTS.items():
    _define_variant(_name, _environment)


@nox.session(name="all")
def all_variants(session: nox.Session) -> None:
    """Run the pipeline under every variant, compare what each leaves, print one table."""
    _install(session, VERIFICATION)
    _make_variants(session)
    session.run(
        "python",
        "-m",
        "pipeline_verification.all_variants",
        *session.posargs,
        env=QUIET,
        **GRACEFUL_STOP,
    )


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run every test: the shared parts, each variant, and all ways together in quick form."""
    _install(session, TESTS)
    _pytest(session, "tests", "--ignore=tests/equivalence", *SIDE_BY_SIDE, *session.posargs)
    for name in VARIANTS:
        session.notify(f"tests-{name}", posargs=[])
    for name in ("compare", "benchmark"):
        session.notify(name, posargs=["--quick"])
    for name in ("docs", "lint"):
        session.notify(name, posargs=[])


@nox.session(default=False)
def compare(session: nox.Session) -> None:
    """Hold every variant against control, oracle and specification, scenario by scenario."""
    _install(session, VERIFICATION)
    _make_variants(session)
    session.run(
        "python",
        "-m",
        "pipeline_verification.conformance.command",
        *session.posargs,
        env=QUIET,
        **GRACEFUL_STOP,
    )


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check style, format, types and SQL."""
    _install(session, TESTS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for folders, path in CHECKED_BY_MYPY.items():
        session.run("mypy", "--explicit-package-bases", *folders, env={"MYPYPATH": path})
    for environment in VARIANTS.values():
        session.run("mypy", environment.folder)
    session.run("sqlfluff", "lint", "dbt_project", env=QUIET)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Write every requirements.lock anew: exact versions with hashes, no host names."""
    session.install("uv")
    for environment in (*VARIANTS.values(), VERIFICATION, TESTS, BENCHMARKS, DOCS):
        with session.chdir(environment.folder):
            session.run(
                *("uv", "pip", "compile", "pyproject.toml", "-o", "requirements.lock"),
                *("--universal", "--python-version=3.11", "--generate-hashes", "--no-annotate"),
                *(
                    "--no-emit-package=ecommerce-pipeline",
                    "--no-emit-package=pipeline-verification",
                ),
                *("--custom-compile-command", "nox -s lock", "--quiet", "--upgrade"),
                *(f"--group={group}" for group in environment.groups),
            )


@nox.session(default=False)
def benchmark(session: nox.Session) -> None:
    """Measure: every verb of benchmarks/, or those named; results are committed JSON."""
    _install(session, BENCHMARKS)
    _make_variants(session)
    session.run("python", "benchmarks/run.py", *session.posargs, env=QUIET, **GRACEFUL_STOP)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the site from files that run and results that were measured; `-- serve` shows it."""
    _install(session, DOCS)
    session.run("python", "docs/build.py", *session.posargs, env=QUIET)
    if not session.posargs:
        _pytest(session, "docs")


@nox.session(default=False)
def screenshots(session: nox.Session) -> None:
    """Take the site's pictures anew: each tool runs two days, and a browser looks at its pages."""
    _install(session, TESTS)
    _make_variants(session)
    session.run("python", "docs/screenshots.py", *session.posargs, env=QUIET, **GRACEFUL_STOP)


def _install(session: nox.Session, environment: LockedEnvironment) -> None:
    """Install what the lock names and our own packages, and nothing that is not locked."""
    session.install("--no-deps", "--require-hashes", "-r", environment.lock)
    session.install("--no-deps", "--no-build-isolation", "-e", "shared", "-e", "verification")


def _run_and_verify(
    session: nox.Session, environment: LockedEnvironment, arguments: list[str]
) -> None:
    """Run the variant, then hold what it left against the oracle."""
    session.run("python", f"{environment.folder}/run.py", *arguments, env=QUIET, **GRACEFUL_STOP)
    if "--help" in arguments:
        return
    parser = argparse.ArgumentParser(add_help=False)
    default = environment.folder.removesuffix("_impl")
    parser.add_argument("--run-dir", default=str(ROOT / "runs" / default))
    run_dir = parser.parse_known_args(arguments)[0].run_dir
    _pytest(session, "tests/equivalence", "--run-dir", run_dir)


def _make_variants(session: nox.Session) -> None:
    """Make the environments of all variants; one that cannot be made does not stop the others."""
    for name in VARIANTS:
        session.log(f"the environment of {name}")
        _nox(session, "-s", name, "--install-only", success_codes=range(256))


def _test_variant(session: nox.Session, name: str, *tests: str) -> None:
    """Run tests of a variant's folder in the environment that `nox -s NAME` uses."""
    _nox(session, "-s", name, "--install-only")
    python = Path(session.cache_dir).parent / name / "bin" / "python"
    path = f"pythonpath={VARIANTS[name].folder}"
    pytest = [str(python), "-m", "pytest", "-q", *tests, "-o", path]
    session.run(*pytest, *session.posargs, env=QUIET, external=True)


def _nox(session: nox.Session, *arguments: str, success_codes: Iterable[int] = (0,)) -> None:
    """Run nox itself, whose output shows only when it fails."""
    command = [sys.executable, "-m", "nox", *arguments]
    session.run(*command, external=True, silent=True, success_codes=success_codes)


def _pytest(session: nox.Session, *arguments: str) -> None:
    session.run("python", "-m", "pytest", "-q", *arguments, env=QUIET)
