"""The start methods of dbt, and what is known of their processes."""

from __future__ import annotations

import subprocess
import sys
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import psutil
import pytest

from definitions import dbt
from ecommerce_pipeline.errors import PipelineError
from measuring import process
from pipeline_verification.harness.environments import ROOT


def test_every_dbt_step_is_measured() -> None:
    """The start methods run each dbt step of the specification, by a selector of the project."""
    specification = spec_from_file_location("start_methods", dbt.SCRIPT)
    assert specification
    assert specification.loader
    start_methods = module_from_spec(specification)
    specification.loader.exec_module(start_methods)
    selectors = (ROOT / "dbt_project" / "selectors.yml").read_text().splitlines()
    assert tuple(start_methods.COMMANDS) == dbt.DBT_STEPS
    assert {f"  - name: {command[-1]}" for command in start_methods.COMMANDS.values()} <= {
        *selectors
    }
    assert {method.function for method in dbt.START_METHODS.values()} == set(
        start_methods.START_METHODS
    )


def test_what_a_process_costs(tmp_path: Path) -> None:
    """A process's output and the CPU time of its children are reported."""
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    code = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('done')"
    )
    ended = process.run([sys.executable, "-c", code], {}, tmp_path)
    assert ended.output == "done\n"
    assert 0.25 < ended.cpu_seconds < 5
    assert ended.peak_megabytes > 1


def test_a_process_that_fails(tmp_path: Path) -> None:
    """The error has the last line that the process printed."""
    command = [sys.executable, "-c", "raise SystemExit('no such table')"]
    with pytest.raises(PipelineError, match="exit 1: no such table"):
        process.run(command, {}, tmp_path)


def test_work_that_outlives_its_parent(tmp_path: Path) -> None:
    """A file that a child has open is found, and the child is alive until it has ended."""
    file = tmp_path / "warehouse.duckdb"
    file.touch()
    child = f"import sys; file = open({str(file)!r}); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        dbt.wait_for(lambda: file in dbt.open_files(process.pid), "the child's file")
        (below,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
        time.sleep(0.2)
        assert dbt.is_alive(below)
    dbt.wait_for(lambda: not dbt.is_alive(below), "the child's end")
