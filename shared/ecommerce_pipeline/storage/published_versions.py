"""How long the versions of the published copy stay, for readers who have one open.

Each version is a folder with a number for a name. Its modification time is set as it is replaced,
and so says since when it has not been the current one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

KEEP_HOURS = 24.0
_KEEP_VARIABLE = "PIPELINE_PUBLISHED_KEEP_HOURS"


def keep_hours() -> float:
    """For how long replaced versions stay: ``PIPELINE_PUBLISHED_KEEP_HOURS``, else 24.

    Raises:
        PipelineError: the variable is no number of hours, 0 or more.
    """
    text = os.environ.get(_KEEP_VARIABLE, str(KEEP_HOURS))
    try:
        hours = float(text)
        if not 0 <= hours < 1_000_000:  # also refuses NaN, for which no comparison is true
            raise ValueError(text)
    except ValueError:
        raise PipelineError(
            f"{_KEEP_VARIABLE}={text!r} is not a number of hours, 0 or more",
            f"set it to one, such as {KEEP_HOURS:g}",
        ) from None
    return hours


def next_name(versions: Path) -> str:
    """The name of the version after the last one, such as ``000002``."""
    return f"{max(map(int, _names(versions)), default=0) + 1:06d}"


def up_to(versions: Path, current: Path) -> list[str]:
    """The names of the current version and of the one before it, as far as they are there."""
    return sorted(name for name in _names(versions) if name <= current.name)[-2:]


def mark_replaced(version: Path) -> None:
    """Note that from now on the version is not the current one."""
    with suppress(FileNotFoundError):
        os.utime(version)


def remove_expired(versions: Path, hours: float, *, kept: Collection[str]) -> None:
    """Remove the versions that were replaced so many hours ago, except those to keep.

    What cannot be removed stays; a publication does not fail for it.
    """
    limit = time.time() - hours * 3600
    for version in _others(versions, kept):
        with suppress(OSError):
            if version.stat().st_mtime <= limit:
                shutil.rmtree(version)


def make_room(versions: Path, current: Path, *, kept: Collection[str]) -> None:
    """Remove the oldest versions, except those to keep, until two of the current's size fit.

    Without this, many publications within a short time, as in a backfill, could fill the disk.
    """
    needed = 2 * sum(file.stat().st_size for file in current.rglob("*") if file.is_file())
    for version in sorted(_others(versions, kept)):
        if shutil.disk_usage(versions).free >= needed:
            return
        shutil.rmtree(version, ignore_errors=True)


def _others(versions: Path, kept: Collection[str]) -> list[Path]:
    return [versions / name for name in _names(versions) if name not in kept]


def _names(versions: Path) -> list[str]:
    return [version.name for version in versions.glob("[0-9]*")]
