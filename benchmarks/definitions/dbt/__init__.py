"""The dbt steps of one day, by start method of dbt: that of the variants beside the usual ones.

It compares start methods of dbt, not variants: a start method is a function in
``processes/start_methods.py``, which runs in a variant's environment with the packages that it
needs. README.md describes the benchmark and its limits.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import psutil

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from measuring import process
from measuring.interval_cost import CPU_SECONDS, SECONDS
from measuring.options import BenchmarkOptions, BenchmarkOutcome
from measuring.plan import Case, Group, Metric, Plan, Values
from measuring.sampling import measure
from pipeline_verification.compare import compare
from pipeline_verification.harness.control import fill_source
from pipeline_verification.harness.environments import CONTROL, interpreter
from pipeline_verification.harness.process_tree import process_tree

TITLE = "dbt: the steps of one day, by how dbt is started"
SCRIPT = Path(__file__).parent / "processes" / "start_methods.py"
PACKAGES = ("dbt-core", "dbt-duckdb", "duckdb")
DAY = date(2025, 1, 1)
DBT_STEPS = tuple(name for name in STEP_NAMES if name.startswith("dbt_"))
KILLED_STEP = "dbt_run_marts"
LARGE_SCALE = 100
TIMEOUT_SECONDS = 300.0
DAY_CASE, KILLED_CASE = "day", "killed"


@dataclass(frozen=True, slots=True)
class StartMethod:
    """How a process starts dbt.

    Attributes:
        function: its name in ``start_methods.py``.
        environment: the variant whose environment has the packages that it needs.
        process_per_step: each step is a process that imports dbt itself, like a tool's task.
        integration: the tool's packages that start dbt, where they do.
    """

    function: str
    environment: str = CONTROL
    process_per_step: bool = False
    integration: tuple[str, ...] = ()


OURS = "step server"
START_METHODS = {
    OURS: StartMethod("step server"),
    "dbtRunner, once": StartMethod("dbtRunner"),
    "dbtRunner, per step": StartMethod("dbtRunner", process_per_step=True),
    "dbt command": StartMethod("dbt command"),
    "DbtCliResource": StartMethod("DbtCliResource", "dagster", integration=("dagster-dbt",)),
}
QUICK = (OURS, "dbtRunner, once")


def run(options: BenchmarkOptions) -> BenchmarkOutcome:
    """Measure every start method; quick: ours and one other."""
    if options.quick and options.variants is None:
        options = replace(options, variants=QUICK)
    runs = DbtRuns(options.partial / "work" / "dbt-runs")
    return measure(plan(runs, quick=options.quick), options)


def plan(runs: DbtRuns, *, quick: bool) -> Plan:
    """A day's steps; and, not in a quick run, how long dbt outlives its killed task."""
    cases = {
        DAY_CASE: Case(
            f"the {len(DBT_STEPS)} dbt steps of one day of the small shop, one after the other",
            {"seconds": SECONDS, "cpu_seconds": CPU_SECONDS},
        ),
        KILLED_CASE: Case(
            f"SIGKILL of the task's process once {KILLED_STEP} has opened a warehouse"
            f" {LARGE_SCALE} times as large, until none of its processes is left",
            {"outlived_seconds": Metric("s", "dbt worked on for", compared=False)},
        ),
    }
    wanted = {name: case for name, case in cases.items() if not quick or name == DAY_CASE}
    group = Group(wanted, partial(session, runs=runs))
    return Plan("dbt", TITLE, (group,), variants=tuple(START_METHODS), control=OURS)


class DbtRuns:
    """Run folders before and after the dbt steps, made when first needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Those of an earlier command may be of other code.
        shutil.rmtree(folder, ignore_errors=True)

    def before(self, case: str) -> RunDirectory:
        """The run's folder before the case: raw tables for a day, all but the marts to kill."""
        large = case == KILLED_CASE
        last = STEP_NAMES.index(KILLED_STEP if large else DBT_STEPS[0])
        return self._made(f"before-{case}", STEP_NAMES[:last], LARGE_SCALE if large else 1)

    def raise_if_different(self, run: RunDirectory) -> None:
        """Compare a warehouse with that of our start method, every table, value for value.

        Raises:
            PipelineError: it differs; such a run has no number.
        """
        last = STEP_NAMES.index(DBT_STEPS[-1]) + 1
        after = self._made("after", STEP_NAMES[:last], 1)
        if differences := compare(run.warehouse, after.warehouse):
            tables = ", ".join(difference.table for difference in differences)
            raise PipelineError(f"differs: {tables}", f"compare it with {after.warehouse}")

    def _made(self, name: str, steps: Sequence[str], scale: int) -> RunDirectory:
        made = RunDirectory(self._folder / name)
        if not made.path.exists():
            run = RunDirectory(self._folder / f"{name}.making")
            shutil.rmtree(run.path, ignore_errors=True)
            run.path.mkdir(parents=True)
            fill_source(
                f"sqlite:///{run.source_file}", load_dataset("synthetic", scale=scale), f"{DAY}"
            )
            perform(START_METHODS[OURS], run, steps)
            run.path.rename(made.path)
        return made


@dataclass(slots=True)
class StartMethodSession:
    """A start method of dbt, with a folder in which it has parsed the project."""

    method: StartMethod
    run: RunDirectory
    runs: DbtRuns
    versions: Mapping[str, str]

    def measure(self, case: str) -> Values:
        """Bring the warehouse into the state before the case and run it."""
        shutil.copy(self.runs.before(case).warehouse, self.run.warehouse)
        return self._day() if case == DAY_CASE else {"outlived_seconds": self._outlived()}

    def _day(self) -> Values:
        parts = [DBT_STEPS] if not self.method.process_per_step else [[step] for step in DBT_STEPS]
        ended = [perform(self.method, self.run, steps) for steps in parts]
        self.runs.raise_if_different(self.run)
        return {
            "seconds": sum(each.seconds for each in ended),
            "cpu_seconds": sum(each.cpu_seconds for each in ended),
        }

    def _outlived(self) -> float:
        """Kill the task's process; the seconds until every process below it has ended."""
        with subprocess.Popen(
            command(self.method, [KILLED_STEP]),
            cwd=self.run.path,
            env={**os.environ, **variables(self.run)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as task:
            wait_for(lambda: self.run.warehouse in open_files(task.pid), "dbt at work")
            # Listed before the kill, which makes them orphans: by their pids, as no parent leads
            # to them afterwards.
            tree = process_tree(psutil.Process(task.pid))
            task.kill()
            killed = time.perf_counter()
        wait_for(lambda: not any(map(is_alive, tree)), "the end of dbt")
        return time.perf_counter() - killed


@contextmanager
def session(name: str, folder: Path, runs: DbtRuns) -> Iterator[StartMethodSession]:
    """Have dbt parse the project outside the clock: on any day but the first it is parsed."""
    run, method = RunDirectory(folder / "run"), START_METHODS[name]
    run.path.mkdir()
    ready = StartMethodSession(method, run, runs, versions(method))
    shutil.copy(runs.before(DAY_CASE).warehouse, run.warehouse)
    perform(method, run, DBT_STEPS[:1])
    yield ready


def versions(method: StartMethod) -> dict[str, str]:
    """Of Python and the packages that matter, in the start method's environment."""
    code = (
        "import json, platform, sys; from importlib.metadata import version;"
        "packages = {name: version(name) for name in sys.argv[1:]};"
        "print(json.dumps({'python': platform.python_version(), **packages}))"
    )
    asked = [str(interpreter(method.environment)), "-c", code, *PACKAGES, *method.integration]
    found: dict[str, str] = json.loads(process.run(asked, {}, Path.cwd()).output)
    return found


def perform(method: StartMethod, run: RunDirectory, steps: Sequence[str]) -> process.EndedProcess:
    """Run steps in one process.

    Raises:
        PipelineError: a step failed, or the environment is missing.
    """
    return process.run(command(method, steps), variables(run), run.path)


def command(method: StartMethod, steps: Sequence[str]) -> list[str]:
    """The command of the process that runs the steps."""
    return [str(interpreter(method.environment)), str(SCRIPT), method.function, *steps]


def variables(run: RunDirectory) -> dict[str, str]:
    """The environment variables that the steps and dbt's profile read."""
    return {
        "PIPELINE_RUN_DIR": str(run.path),
        "PIPELINE_DAY": str(DataInterval.for_day(DAY)),
        "PIPELINE_WAREHOUSE": str(run.warehouse),
    }


def open_files(pid: int) -> set[Path]:
    """The files that a process or one below it has open."""
    # Processes end at any time, between being listed and being asked, too.
    found: set[Path] = set()
    with suppress(psutil.Error):
        for each in process_tree(psutil.Process(pid)):
            with suppress(psutil.Error):
                found |= {Path(file.path) for file in each.open_files()}
    return found


def is_alive(one: psutil.Process) -> bool:
    """Whether a process has not ended.

    A zombie has: it holds no file and no lock, and only waits for its parent to collect it.
    """
    with suppress(psutil.Error):
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    return False


def wait_for(condition: Callable[[], bool], what: str) -> None:
    """Poll every 10 ms, as the wait for the end is what is measured.

    Raises:
        PipelineError: the condition stayed false.
    """
    if not wait_until(condition, timeout_seconds=TIMEOUT_SECONDS, poll_seconds=0.01):
        raise PipelineError(f"waited {TIMEOUT_SECONDS:g} s for {what}", "run it by hand")
