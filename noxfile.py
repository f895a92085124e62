"""The commands of this repository; `nox -l` lists them.

Each session has its own environment, built from a requirements.lock.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
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
BUILDS = {**QUIET, "NOX_PYTHON": sys.executable}  # which has nox; the environments have not
# After Ctrl+C a run stops its services first, for which nox would leave it half a second.
GRACEFUL_STOP = {"interrupt_timeout": 120.0, "terminate_timeout": 60.0}

# The shared tests wait more than they compute; the tests of a module share its fixtures.
PARALLEL_TESTS = ("--numprocesses=logical", "--maxprocesses=4", "--dist=loadscope")


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
SMOKE_PYTHONS = ("3.12", "3.13")
MYPY_PATHS = {  # folders, and where their modules are found
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

    run.__doc__ = f"Run the pipeline under {name} and verify its outputs."
    tests.__doc__ = f"Test the {name} variant in its environment."
    faults.__doc__ = f"Kill processes of the {name} variant while it runs; write the results."
    nox.session(run, name=name)
    nox.session(tests, name=f"tests-{name}", default=False, venv_backend="none")
    if (ROOT / faults_file).exists():
        nox.session(faults, name=f"faults-{name}", default=False, venv_backend="none")


for _name, _environment in VARIANTS.items():
    _define_variant(_name, _environment)


@nox.session(name="all")
def all_variants(session: nox.Session) -> None:
    """Run the pipeline under every variant, compare their outputs, print one table."""
    session.log("building the environment that compares the variants; first time: a minute")
    _install(session, VERIFICATION)
    module = ("-m", "pipeline_verification.build_and_run_all")
    session.run("python", *module, *session.posargs, env=BUILDS, **GRACEFUL_STOP)


@nox.session(default=False)
def tests(session: nox.Session) -> None:
    """Run every test: shared, variants, Pythons, comparison, benchmarks, docs, lint."""
    # Queued before anything can fail: a failed part must not hide the results of the others.
    for name, arguments in _parts_of_tests():
        session.notify(name, posargs=arguments)
    _test_shared_parts(session)


@nox.session(name="tests-shared", default=False)
def tests_shared(session: nox.Session) -> None:
    """Test the shared parts alone."""
    _test_shared_parts(session)


@nox.session(default=False, venv_backend="none")
@nox.parametrize("version", [nox.param(version, id=version) for version in SMOKE_PYTHONS])
def smoke(session: nox.Session, version: str) -> None:
    """Run and verify two days of the control on another Python, where one is found."""
    python = _find_python(version)
    if python is None:
        session.skip(f"no Python {version} was found on the PATH or below PYENV_ROOT")
    session.log(f"two days of {CONTROL} on {python}")
    environment = Path(session.cache_dir).parent / f"smoke-{version}"
    run_dir = ROOT / "runs" / f"smoke-{version}"
    command = [
        *(sys.executable, "-m", "nox", "-s", CONTROL),
        *("--force-python", python, "--envdir", str(environment)),
        *("--", "--days", "2", "--run-dir", str(run_dir)),
    ]
    session.run(*command, external=True, silent=True, **GRACEFUL_STOP)


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Change the product in small ways; report which changes the tests catch."""
    _install(session, TESTS)
    session.run("python", "tests/mutation/run.py", *session.posargs, env=QUIET, **GRACEFUL_STOP)


@nox.session(default=False)
def compare(session: nox.Session) -> None:
    """Compare every variant with control, oracle and specification, by scenario."""
    _install(session, VERIFICATION)
    _build_variants(session)
    session.run(
        "python",
        "-m",
        "pipeline_verification.conformance.command",
        *session.posargs,
        env=QUIET,
        **GRACEFUL_STOP,
    )


@nox.session(default=False)
def kills(session: nox.Session) -> None:
    """Kill random processes at random moments of a day; the results are committed JSON."""
    _install(session, VERIFICATION)
    _build_variants(session)
    module = ("-m", "pipeline_verification.random_kills.command")
    session.run("python", *module, *session.posargs, env=QUIET, **GRACEFUL_STOP)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check style, format, types and SQL."""
    _install(session, TESTS)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    for folders, path in MYPY_PATHS.items():
        session.run("mypy", "--explicit-package-bases", *folders, env={"MYPYPATH": path})
    for environment in VARIANTS.values():
        session.run("mypy", environment.folder)
    session.run("sqlfluff", "lint", "dbt_project", env=QUIET)


@nox.session(default=False)
def lock(session: nox.Session) -> None:
    """Update every requirements.lock: exact versions with hashes, no host names."""
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
    """Run the benchmarks, or those named; the results are committed JSON."""
    _install(session, BENCHMARKS)
    _build_variants(session)
    session.run("python", "benchmarks/run.py", *session.posargs, env=QUIET, **GRACEFUL_STOP)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build and test the documentation site; `-- serve` shows it."""
    _install(session, DOCS)
    session.run("python", "docs/build.py", *session.posargs, env=QUIET)
    if not session.posargs:
        _pytest(session, "docs")


@nox.session(default=False)
def screenshots(session: nox.Session) -> None:
    """Take the site's screenshots: each tool runs two days, a browser opens its pages."""
    _install(session, TESTS)
    _build_variants(session)
    session.run("python", "docs/screenshots.py", *session.posargs, env=QUIET, **GRACEFUL_STOP)


def _install(session: nox.Session, environment: LockedEnvironment) -> None:
    """Install the locked packages and our own, and nothing that is not locked."""
    session.install("--no-deps", "--require-hashes", "-r", environment.lock)
    session.install("--no-deps", "--no-build-isolation", "-e", "shared", "-e", "verification")


def _run_and_verify(
    session: nox.Session, environment: LockedEnvironment, arguments: list[str]
) -> None:
    """Run the variant, then compare its outputs with the oracle."""
    session.run("python", f"{environment.folder}/run.py", *arguments, env=QUIET, **GRACEFUL_STOP)
    if "--help" in arguments:
        return
    parser = argparse.ArgumentParser(add_help=False)
    default = environment.folder.removesuffix("_impl")
    parser.add_argument("--run-dir", default=str(ROOT / "runs" / default))
    parser.add_argument("--source", default="")
    options = parser.parse_known_args(arguments)[0]
    # The run record has the URL without its password, which env and @FILE give again.
    given = options.source == "env" or options.source.startswith("@")
    source = ["--source-url", options.source] if given else []
    _pytest(session, "tests/equivalence", "--run-dir", options.run_dir, *source)


def _parts_of_tests() -> list[tuple[str, list[str]]]:
    """The sessions of the test command that follow the shared tests, with their arguments."""
    return [
        *((f"tests-{name}", []) for name in VARIANTS),
        *((f"smoke({version})", []) for version in SMOKE_PYTHONS),
        ("compare", ["--quick"]),
        ("benchmark", ["--quick"]),
        ("docs", []),
        ("lint", []),
    ]


def _test_shared_parts(session: nox.Session) -> None:
    _install(session, TESTS)
    _pytest(session, "tests", "--ignore=tests/equivalence", *PARALLEL_TESTS, *session.posargs)


def _build_variants(session: nox.Session) -> None:
    """Build the environments of all variants; one that cannot be built does not stop the others."""
    module = ("-m", "pipeline_verification.harness.environment_builds")
    session.run_install("python", *module, env=BUILDS, **GRACEFUL_STOP)


def _find_python(version: str) -> str | None:
    """A Python of that version on the PATH or in pyenv's folder; None where there is none."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(name), *sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"))]
    # pyenv puts a file of that name on the PATH even for a version that it does not start.
    return next((str(python) for python in found if python and _starts(str(python))), None)


def _starts(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _test_variant(session: nox.Session, name: str, *tests: str) -> None:
    """Run tests of a variant's folder in the environment that `nox -s NAME` uses."""
    install = [sys.executable, "-m", "nox", "-s", name, "--install-only"]
    session.run_install(*install, external=True, silent=True, **GRACEFUL_STOP)
    python = Path(session.cache_dir).parent / name / "bin" / "python"
    path = f"pythonpath={VARIANTS[name].folder}"
    pytest = [str(python), "-m", "pytest", "-q", *tests, "-o", path]
    session.run(*pytest, *session.posargs, env=QUIET, external=True)


def _pytest(session: nox.Session, *arguments: str) -> None:
    session.run("python", "-m", "pytest", "-q", *arguments, env=QUIET)
