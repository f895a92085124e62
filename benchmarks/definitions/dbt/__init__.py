"""The dbt steps of one day: how every variant here runs them, beside the usual ways.

It measures ways to run dbt, not variants: a way is a function in ``processes/forms.py``, in the
environment of a variant that has what it needs. See README.md for the method and its limits.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from pathlib import Path

import psutil

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from measuring import process
from measuring.hosted import CPU_SECONDS, SECONDS
from measuring.options import Options, Outcome
from measuring.plan import Case, Group, Metric, Plan, Values
from measuring.sampling import measure
from pipeline_verification.compare import compare
from pipeline_verification.harness.control import fill_source
from pipeline_verification.harness.environments import CONTROL, interpreter
from pipeline_verification.harness.fault_injection import wait_for
from pipeline_verification.harness.process_tree import process_tree

TITLE = "dbt: the steps of one day, by how dbt is started"
FORMS_SCRIPT = Path(__file__).parent / "processes" / "forms.py"
PACKAGES = ("dbt-core", "dbt-duckdb", "duckdb")
DAY = date(2025, 1, 1)
DBT_STEPS = tuple(name for name in STEP_NAMES if name.startswith("dbt_"))
KILLED_STEP = "dbt_run_marts"
LARGE = 100
DAY_CASE, KILLED_CASE = "day", "killed"


@dataclass(frozen=True, slots=True)
class Form:
    """A way to run dbt.

    Attributes:
        way: what ``forms.py`` calls it.
        environment: the variant whose environment has what it needs.
        process_per_step: each step is a process that imports dbt anew, as tools' tasks are.
        integration: the tool's package that starts dbt, if there is one.
    """

    way: str
    environment: str = CONTROL
    process_per_step: bool = False
    integration: tuple[str, ...] = ()


OURS = "step server"
FORMS = {
    OURS: Form("step server"),
    "dbtRunner, once": Form("dbtRunner"),
    "dbtRunner, per step": Form("dbtRunner", process_per_step=True),
    "dbt command": Form("dbt command"),
    "DbtCliResource": Form("DbtCliResource", "dagster", integration=("dagster-dbt",)),
}
QUICK = (OURS, "dbtRunner, once")


def run(options: Options) -> Outcome:
    """Measure every way; a quick one is of ours and one other."""
    if options.quick and options.variants is None:
        options = replace(options, variants=QUICK)
    with_stage = plan(Stage(options.partial / "work" / "dbt-stage"), quick=options.quick)
    return measure(with_stage, options)


def plan(stage: Stage, *, quick: bool) -> Plan:
    """A day's steps; and, not in a quick one, what becomes of dbt when its task is killed."""
    cases = {
        DAY_CASE: Case(
            f"the {len(DBT_STEPS)} dbt steps of one day of the small shop, one after the other",
            {"seconds": SECONDS, "cpu_seconds": CPU_SECONDS},
        ),
        KILLED_CASE: Case(
            f"SIGKILL of the task's process once {KILLED_STEP} has opened a warehouse {LARGE} times"
            " as large, until none of its processes is left",
            {"outlived_seconds": Metric("s", "dbt worked on for", compared=False)},
        ),
    }
    wanted = {name: case for name, case in cases.items() if not quick or name == DAY_CASE}
    group = Group(wanted, partial(session, stage=stage))
    return Plan("dbt", TITLE, (group,), variants=tuple(FORMS), control=OURS)


class Stage:
    """Warehouses as they stand before the steps, and after them; made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.rmtree(folder, ignore_errors=True)

    def before(self, case: str) -> RunDirectory:
        """The run's folder before the case: raw tables for a day, all but the marts to kill."""
        large = case == KILLED_CASE
        last = STEP_NAMES.index(KILLED_STEP if large else DBT_STEPS[0])
        return self._made(f"before-{case}", STEP_NAMES[:last], LARGE if large else 1)

    def must_equal(self, run: RunDirectory) -> None:
        """Hold a warehouse against what our way left, every table, value for value.

        Raises:
            PipelineError: it differs; such a run gets no number.
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
            perform(FORMS[OURS], run, steps)
            run.path.rename(made.path)
        return made


@dataclass(slots=True)
class FormSession:
    """A way to run dbt, with a folder in which it has parsed the project."""

    form: Form
    run: RunDirectory
    stage: Stage
    versions: Mapping[str, str]

    def measure(self, case: str) -> Values:
        """Put the warehouse into the state before the case and run it."""
        shutil.copy(self.stage.before(case).warehouse, self.run.warehouse)
        return self._day() if case == DAY_CASE else {"outlived_seconds": self._outlived()}

    def _day(self) -> Values:
        parts = [DBT_STEPS] if not self.form.process_per_step else [[step] for step in DBT_STEPS]
        ended = [perform(self.form, self.run, steps) for steps in parts]
        self.stage.must_equal(self.run)
        return {
            "seconds": sum(each.seconds for each in ended),
            "cpu_seconds": sum(each.cpu_seconds for each in ended),
        }

    def _outlived(self) -> float:
        """Kill the process that has the step done; the seconds until all below it have ended."""
        with subprocess.Popen(
            command(self.form, [KILLED_STEP]),
            cwd=self.run.path,
            env={**os.environ, **variables(self.run)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as task:
            wait_for(lambda: self.run.warehouse in open_files(task.pid), "dbt at work")
            tree = process_tree(psutil.Process(task.pid))
            task.kill()
            killed = time.perf_counter()
        wait_for(lambda: not any(map(is_alive, tree)), "the end of dbt")
        return time.perf_counter() - killed


@contextmanager
def session(name: str, folder: Path, stage: Stage) -> Iterator[FormSession]:
    """Have dbt parse the project, which nobody counts: on any day but the first it is parsed."""
    run, form = RunDirectory(folder / "run"), FORMS[name]
    run.path.mkdir()
    ready = FormSession(form, run, stage, versions(form))
    shutil.copy(stage.before(DAY_CASE).warehouse, run.warehouse)
    perform(form, run, DBT_STEPS[:1])
    yield ready


def versions(form: Form) -> dict[str, str]:
    """Of Python and the packages that matter, in the form's environment."""
    code = (
        "import json, platform, sys; from importlib.metadata import version;"
        "packages = {name: version(name) for name in sys.argv[1:]};"
        "print(json.dumps({'python': platform.python_version(), **packages}))"
    )
    asked = [str(interpreter(form.environment)), "-c", code, *PACKAGES, *form.integration]
    told: dict[str, str] = json.loads(process.run(asked, {}, Path.cwd()).output)
    return told


def perform(form: Form, run: RunDirectory, steps: Sequence[str]) -> process.Ended:
    """Run steps in one process.

    Raises:
        PipelineError: a step failed, or the environment is missing.
    """
    return process.run(command(form, steps), variables(run), run.path)


def command(form: Form, steps: Sequence[str]) -> list[str]:
    """What starts the process that runs the steps."""
    return [str(interpreter(form.environment)), str(FORMS_SCRIPT), form.way, *steps]


def variables(run: RunDirectory) -> dict[str, str]:
    """What the steps and dbt's profile read."""
    return {
        "PIPELINE_RUN_DIR": str(run.path),
        "PIPELINE_DAY": str(DataInterval.for_day(DAY)),
        "PIPELINE_WAREHOUSE": str(run.warehouse),
    }


def open_files(pid: int) -> set[Path]:
    """The files that a process or one below it has open."""
    found: set[Path] = set()
    with suppress(psutil.Error):
        for each in process_tree(psutil.Process(pid)):
            with suppress(psutil.Error):
                found |= {Path(file.path) for file in each.open_files()}
    return found


def is_alive(one: psutil.Process) -> bool:
    """Whether a process still does anything."""
    with suppress(psutil.Error):
        return one.is_running() and one.status() != psutil.STATUS_ZOMBIE
    return False
