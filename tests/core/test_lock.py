"""The lock that keeps two runs apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive, shared

HOLD = """
import sys, time
from pathlib import Path
from ecommerce_pipeline.files.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_run_is_refused_and_the_first_named(tmp_path: Path) -> None:
    """A lock that another process has is refused by a line that names its process."""
    path = tmp_path / "lock"
    refused = pytest.raises(PipelineError, match=rf"process {os.getpid()}\)")
    with exclusive(path), refused, exclusive(path):
        pass
    with exclusive(path):
        assert path.read_text() == str(os.getpid())


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    """The lock of a process that was SIGKILLed can be taken at once."""
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(PipelineError), exclusive(path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with exclusive(path):
        pass


def test_a_lock_is_waited_for_only_for_so_long(tmp_path: Path) -> None:
    """A lock that stays held is refused after the wait, which the message gives."""
    path = tmp_path / "lock"
    refused = pytest.raises(PipelineError, match=r"holds .*lock, still after 0\.2 s")
    with exclusive(path), refused, exclusive(path, wait_seconds=0.2):
        pass


def test_a_shared_lock_keeps_only_exclusive_ones_out(tmp_path: Path) -> None:
    """Several share a lock; an exclusive holder is refused beside them, and they beside it."""
    path = tmp_path / "lock"
    with shared(path), shared(path), pytest.raises(PipelineError), exclusive(path):
        pass
    with exclusive(path), pytest.raises(PipelineError), shared(path):
        pass


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A lock below a file is refused by a line that names it."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(PipelineError, match=r"lock .*file/lock cannot be made: "),
        exclusive(tmp_path / "file" / "lock"),
    ):
        pass
