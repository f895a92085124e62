"""The start methods of dbt, each as its documentation shows it.

``python start_methods.py METHOD STEP...`` runs steps one after the other, in the run's folder that
``PIPELINE_RUN_DIR`` names, for the UTC day in ``PIPELINE_DAY``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.dbt_runner.manifest import project_folder
from ecommerce_pipeline.interval import DataInterval

COMMANDS = {
    "dbt_run_staging": ("run", "--selector", "staging"),
    "dbt_test_staging": ("test", "--selector", "staging_tests"),
    "dbt_snapshot": ("snapshot", "--selector", "snapshots"),
    "dbt_run_marts": ("run", "--selector", "marts"),
    "dbt_test_marts": ("test", "--selector", "marts_tests"),
}


def folders() -> tuple[str, ...]:
    """Options with dbt's folders: of the project, its profile, the artifacts and the logs."""
    project = str(project_folder())
    target = str(Path(os.environ["PIPELINE_RUN_DIR"]) / "target")
    return (
        *("--project-dir", project, "--profiles-dir", project),
        *("--target-path", target, "--log-path", target),
    )


def step_server() -> Callable[[str], object]:
    """As the variants do it: a child of a process that has dbt imported."""
    from ecommerce_pipeline.execution.step_client import run_step

    context = StepContext.from_environment(DataInterval.parse(os.environ["PIPELINE_DAY"]))
    return lambda step: run_step(step, context)


def dbt_runner() -> Callable[[str], object]:
    """dbt's programmatic interface, in this process."""
    from dbt.cli.main import dbtRunner

    def run(step: str) -> None:
        outcome = dbtRunner().invoke([*COMMANDS[step], *folders()])
        if not outcome.success:
            raise SystemExit(f"{step} failed: {outcome.exception}")

    return run


def dbt_command() -> Callable[[str], object]:
    """The command ``dbt`` in a separate process, as Airflow's ``BashOperator`` starts it."""
    program = str(Path(sys.executable).with_name("dbt"))
    return lambda step: subprocess.run(
        [program, *COMMANDS[step], *folders()], check=True, stdout=subprocess.DEVNULL
    )


def dbt_cli_resource() -> Callable[[str], object]:
    """``DbtCliResource`` of dagster-dbt, which starts the command ``dbt`` and reads its events."""
    from dagster_dbt import DbtCliResource

    program = str(Path(sys.executable).with_name("dbt"))
    resource = DbtCliResource(project_dir=str(project_folder()), dbt_executable=program)
    target = Path(os.environ["PIPELINE_RUN_DIR"]) / "target"
    return lambda step: resource.cli(list(COMMANDS[step]), target_path=target).wait()


START_METHODS: dict[str, Callable[[], Callable[[str], object]]] = {
    "step server": step_server,
    "dbtRunner": dbt_runner,
    "dbt command": dbt_command,
    "DbtCliResource": dbt_cli_resource,
}


def main(method: str, steps: Sequence[str]) -> None:
    """Run the steps with one start method."""
    run = START_METHODS[method]()
    for step in steps:
        run(step)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
