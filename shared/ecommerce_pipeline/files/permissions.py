"""Who may read a run's files: its user alone, and others what the user publishes to them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

READERS_VARIABLE = "PIPELINE_READERS"
PRIVATE_UMASK = 0o077
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
# What may be read: bits for files and, with those for passing through, for folders.
_READERS = {"owner": 0o000, "group": 0o050, "everyone": 0o055}


def share(path: Path, root: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Let those whom ``PIPELINE_READERS`` names read a file or folder, and nothing beside it.

    Args:
        path: the file, or the folder with all that it holds.
        root: an upper folder; from it on, ``path`` can be reached but nothing can be listed.
        environment: has ``owner`` (the default), ``group`` or ``everyone`` in the variable.

    Raises:
        PipelineError: the variable has another value.
    """
    name = environment.get(READERS_VARIABLE) or "owner"
    if name not in _READERS:
        raise PipelineError(
            f"{READERS_VARIABLE}={name!r} names no readers", f"set it to {', '.join(_READERS)}"
        )
    bits = _READERS[name]
    for shared in (path, *path.rglob("*")):
        own = shared.stat().st_mode & PRIVATE_FOLDER
        shared.chmod(own | (bits if shared.is_dir() else bits & 0o044))
    for folder in path.parents[: len(path.relative_to(root).parts)] if bits else ():
        folder.chmod(folder.stat().st_mode & 0o777 | bits & 0o011)
