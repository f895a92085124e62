"""The client of the step server returns from a time-out only once nothing of the step is left."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from ecommerce_pipeline.execution import step_client

# It leaves the killed group and outlives it for a moment, holding the step's connection, as a
# process does that the kernel has not taken down yet.
SURVIVOR = """
import os, sys, time
from pathlib import Path
os.setsid()
time.sleep(1)
Path(sys.argv[1]).touch()
"""
CHILD = f"""
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", {SURVIVOR!r}, sys.argv[1]], close_fds=False)
print("ready", flush=True)
time.sleep(600)
"""


def test_kill_returns_after_the_last_process_of_the_step_has_ended(tmp_path: Path) -> None:
    """Whoever retries the step afterwards meets no process of the attempt that was killed."""
    ended = tmp_path / "ended"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.set_inheritable(True)
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(ended)],
            stdout=subprocess.PIPE,
            pass_fds=[theirs.fileno()],
            start_new_session=True,
        )
        theirs.close()
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.2)  # the survivor has left the group
        step_client._kill(child.pid, ours)
        assert ended.exists()
        child.stdout.close()
        child.wait()
