"""Named points at which a crash test kills the process; elsewhere they cost one look-up."""

from __future__ import annotations

import os
import signal

ENVIRONMENT_VARIABLE = "PIPELINE_CRASH_AT"

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


def crash_point(name: str) -> None:
    """SIGKILL this process when the environment names this point.

    Raises:
        ValueError: the point is not listed in ``CRASH_POINTS``, so no test would reach it.
    """
    if name not in CRASH_POINTS:
        raise ValueError(f"unknown crash point {name!r}")
    if os.environ.get(ENVIRONMENT_VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
