"""The crash points of the product, and how a test has a process killed at one of them.

A process whose environment is ``environment(POINT)`` starts with a hook that kills it, or the
child that it forks for a step, at that point. Python runs ``crash_hook/sitecustomize.py`` at its
start for that; nothing in the product refers to it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "PIPELINE_TEST_CRASH_AT"  # the prefix hands it on to the step server's children
CRASH_POINTS = (
    "landing:before_rename",
    "landing:after_rename",
    "landing_sidecar:before_rename",
    "landing_sidecar:after_rename",
    "load:before_commit",
    "load:after_commit",
    "publish:before_rename",
    "publish:after_rename",
    "dashboard:before_rename",
    "dashboard:after_rename",
    "record:before_rename",
    "record:after_rename",
    "notification:before_append",
    "notification:after_append",
)
_HERE = Path(__file__).parent


def environment(point: str | None = None) -> dict[str, str]:
    """The variables with which a Python process installs the hook; armed where a point is named."""
    inherited = os.environ.get("PYTHONPATH", "")
    folders = (str(_HERE / "crash_hook"), str(_HERE.parent), inherited)
    path = os.pathsep.join(filter(None, folders))
    return {"PYTHONPATH": path, **({VARIABLE: point} if point else {})}


def kill_at_the_named_point(name: str, variables: Mapping[str, str] = os.environ) -> None:
    """SIGKILL this process where the environment names this point.

    Raises:
        ValueError: the point is not listed in ``CRASH_POINTS``, so no test would reach it.
    """
    if name not in CRASH_POINTS:
        raise ValueError(f"unknown crash point {name!r}")
    if variables.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
