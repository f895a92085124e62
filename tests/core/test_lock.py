"""The lock that keeps two runs apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive

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
