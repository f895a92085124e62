"""What is counted: lines, files, bytes, CPU time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from ecommerce_pipeline.execution.processes import wait_until
from measuring import files
from measuring.interval_cost import tree_cpu_seconds
from pipeline_verification.harness.code_lines import count_code_lines

BURNT_SECONDS = 0.3
BURN = f"import time\nwhile time.process_time() < {BURNT_SECONDS}: pass"
TICKS_SECONDS = 0.05
"""The kernel counts whole ticks of 10 ms, rounded down for each process and kind of time."""


def test_code_lines(tmp_path: Path) -> None:
    """Blank lines and lines that are only a comment do not count; docstrings do."""
    file = tmp_path / "pipeline.py"
    file.write_text('"""What it does."""\n\n# a comment\nx = 1  # another\n    # indented\n')
    assert count_code_lines(file) == 2


def test_own_files(tmp_path: Path) -> None:
    """Tests and the steps that do nothing are not the variant's own code; folders are searched."""
    (tmp_path / "plugins").mkdir()
    names = ["run.py", "noop.py", "test_run.py", "conftest.py", "plugins/days.py", "notes.md"]
    for name in names:
        (tmp_path / name).touch()
    own = [file.relative_to(tmp_path).as_posix() for file in files.own_files(tmp_path)]
    assert own == ["plugins/days.py", "run.py"]
    folders = [str(tmp_path), str(tmp_path / "plugins")]
    assert sorted(files.python_folders(tmp_path)) == folders


def test_size(tmp_path: Path) -> None:
    """Links and compiled modules do not count."""
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"123")
    (tmp_path / "x.py").write_bytes(b"12345")
    (tmp_path / "link.py").symlink_to("x.py")
    assert files.size_in_bytes(tmp_path) == 5


def test_cpu_time_of_short_lives() -> None:
    """The CPU time of a process that begins and ends between two calls is counted."""
    before = tree_cpu_seconds(os.getpid())
    own = time.process_time()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    used = tree_cpu_seconds(os.getpid()) - before - (time.process_time() - own)
    assert BURNT_SECONDS - TICKS_SECONDS < used < 5


def test_cpu_time_of_orphans() -> None:
    """The CPU time of a process whose parent ended before it is counted, also after its end."""
    leave_an_orphan = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN!r}])"
    root = (
        "import subprocess, sys, time;"
        "from pipeline_verification.harness.process_tree import adopt_orphans;"
        "adopt_orphans(); print('ready', flush=True); sys.stdin.readline();"
        f"subprocess.run([sys.executable, '-c', {leave_an_orphan!r}]); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        before = tree_cpu_seconds(process.pid)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert wait_until(lambda: _all_have_ended(process.pid), timeout_seconds=60)
        used = tree_cpu_seconds(process.pid) - before
        process.kill()
    assert BURNT_SECONDS - TICKS_SECONDS < used < 5


def _all_have_ended(pid: int) -> bool:
    below = psutil.Process(pid).children()
    return bool(below) and all(each.status() == psutil.STATUS_ZOMBIE for each in below)
