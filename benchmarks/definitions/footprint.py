"""What each variant takes up: environment, installation, services, code.

A variant needs a folder with ``requirements.lock``, ``pipeline.py`` and ``run.py``, and the
environment that nox made from the lock.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path

import psutil

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER, name_in_form, pipeline_file
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from measuring import files
from measuring.installer import Installer
from measuring.interval_cost import measure_intervals, running_variant, tree_cpu_seconds
from measuring.options import BenchmarkOptions, BenchmarkOutcome
from measuring.plan import Case, Group, Metric, Plan, Values
from measuring.sampling import measure
from pipeline_verification.harness.code_lines import count_code_lines
from pipeline_verification.harness.control import fill_source
from pipeline_verification.harness.environments import interpreter, variant_folder, variant_names
from pipeline_verification.harness.process_tree import process_tree, proportional_bytes, sampled

TITLE = "Footprint: environment, installation, services, code"
DAY = date(2025, 1, 1)
REST_SECONDS, IDLE_SECONDS = 5.0, 15.0
SAMPLE_SECONDS = 0.5
MEGABYTE = 1_000_000
SECONDS = Metric("s", "seconds")
QUICK = ("environment", "code", "code-step-server")
FORMS = (NATIVE, STEP_SERVER)
CODE = Case(
    "importing the pipeline in a new process, which is also what parsing it costs; "
    "lines are neither blank nor only a comment",
    {
        "import_seconds": Metric("s", "import"),
        "pipeline_lines": Metric("lines", "of the pipeline"),
        "all_lines": Metric("lines", "all but tests"),
    },
)
SERVICES = Case(
    f"started in a new folder, {IDLE_SECONDS:g} s idle, then one interval",
    {
        "start_seconds": Metric("s", "start to healthy"),
        "idle_megabytes": Metric("MB", "idle PSS"),
        "peak_megabytes": Metric("MB", "peak PSS"),
        "idle_cpu_seconds": Metric("s/min", "idle CPU"),
    },
)


def run(options: BenchmarkOptions) -> BenchmarkOutcome:
    """Measure every variant; a quick run installs and starts nothing."""
    return measure(plan(quick=options.quick), options)


def plan(*, quick: bool) -> Plan:
    """Each group has a separate session: an installer's cache, services, or nothing."""
    installer = Installer.find()
    groups = (
        _group(
            EnvironmentSize,
            environment=Case(
                "the environment that nox made, without compiled modules and our own packages",
                {"megabytes": Metric("MB", "on disk"), "packages": Metric("packages", "packages")},
            ),
        ),
        *(_of_form(Code, "code", form, CODE) for form in FORMS),
        _group(
            partial(Installation, installer=installer),
            **{
                "install-cold": Case(
                    f"a new environment from the lock with {installer}, its cache empty",
                    {"seconds": SECONDS},
                ),
                "install-warm": Case(
                    f"the same with {installer}, everything in its cache",
                    {"seconds": SECONDS},
                ),
            },
        ),
        *(_of_form(Services, "services", form, SERVICES) for form in FORMS),
    )
    wanted = [group for group in groups if not quick or set(group.cases) <= set(QUICK)]
    return Plan("footprint", TITLE, tuple(wanted))


@dataclass(slots=True)
class EnvironmentSize:
    """The environment that nox made, on disk."""

    variant: str
    folder: Path
    versions: Mapping[str, str] = field(default_factory=dict)

    def measure(self, case: str) -> Values:
        """Count its files' bytes and its packages."""
        root = interpreter(self.variant).parents[1]
        return {
            "megabytes": files.size_in_bytes(root) / MEGABYTE,
            "packages": len(files.packages(root)),
        }


@dataclass(slots=True)
class Code:
    """The variant's own Python files."""

    variant: str
    folder: Path
    form: str
    versions: Mapping[str, str] = field(default_factory=dict)

    def measure(self, case: str) -> Values:
        """Measure the import of the pipeline and count its lines."""
        self._import()  # compiles the modules, so that the second import needs no compilation
        begun = time.perf_counter()
        self._import()
        seconds = time.perf_counter() - begun
        counted = files.own_files(variant_folder(self.variant))
        return {
            "import_seconds": seconds,
            "pipeline_lines": count_code_lines(self._file),
            "all_lines": sum(map(count_code_lines, counted)),
        }

    @property
    def _file(self) -> Path:
        return pipeline_file(variant_folder(self.variant), self.form)

    def _import(self) -> None:
        """Import the pipeline in an empty home folder, as some tools write files at import."""
        environment = {
            **{k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(files.python_folders(variant_folder(self.variant))),
        }
        command = [str(interpreter(self.variant)), "-c", f"import {self._file.stem}"]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise PipelineError(f"{self._file.name} cannot be imported: {last}", "fix it")


@dataclass(slots=True)
class Installation:
    """Installations with one cache, which is empty at first."""

    variant: str
    folder: Path
    installer: Installer
    versions: Mapping[str, str] = field(default_factory=dict)

    def measure(self, case: str) -> Values:
        """Install; for a warm cache, fill it first where no cold installation has."""
        cache = self.folder / "cache"
        if case == "install-warm" and not cache.exists():
            self._install(cache)
        return {"seconds": self._install(cache)}

    def _install(self, cache: Path) -> float:
        lock = variant_folder(self.variant) / "requirements.lock"
        return self.installer.install(interpreter(self.variant), lock, self.folder / "env", cache)


@dataclass(slots=True)
class Services:
    """A variant's services; they are started within the measurement."""

    variant: str
    folder: Path
    form: str
    versions: Mapping[str, str] = field(default_factory=dict)

    def measure(self, case: str) -> Values:
        """Start the services, measure them idle, run one interval, stop them."""
        run = RunDirectory(self.folder / "run")
        run.path.mkdir(parents=True)
        fill_source(f"sqlite:///{run.source_file}", load_dataset("synthetic"), f"{DAY}")
        begun = time.perf_counter()
        with running_variant(self.variant, self.form, run) as variant:
            self.versions = variant.versions
            start_seconds = time.perf_counter() - begun
            time.sleep(REST_SECONDS)  # what a start leaves to do is not idle work
            cpu, idle_since = tree_cpu_seconds(variant.pid), time.perf_counter()
            time.sleep(IDLE_SECONDS)
            cpu = tree_cpu_seconds(variant.pid) - cpu
            minutes = (time.perf_counter() - idle_since) / 60
            # Proportional: resident sizes would count pages that forked processes share repeatedly.
            idle_bytes = proportional_bytes(process_tree(psutil.Process(variant.pid)))
            with sampled(variant.pid, SAMPLE_SECONDS) as usage:
                measure_intervals(variant, run, [DataInterval.for_day(DAY)], backfill=False)
        return {
            "start_seconds": start_seconds,
            "idle_megabytes": idle_bytes / MEGABYTE,
            "peak_megabytes": usage.peak_bytes / MEGABYTE,
            "idle_cpu_seconds": cpu / minutes,
        }


FootprintSession = EnvironmentSize | Code | Installation | Services


def _group(make: Callable[[str, Path], FootprintSession], **cases: Case) -> Group:
    @contextmanager
    def opened(variant: str, folder: Path) -> Iterator[FootprintSession]:
        yield make(variant, folder)

    return Group(cases, opened)


def _of_form(
    make: Callable[[str, Path, str], FootprintSession], name: str, form: str, case: Case
) -> Group:
    """The case of one form: ``code``, ``code-step-server``."""

    @contextmanager
    def opened(variant: str, folder: Path) -> Iterator[FootprintSession]:
        yield make(variant, folder, form)

    return Group({name_in_form(name, form): case}, opened, variant_names(form))
