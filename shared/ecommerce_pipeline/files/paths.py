"""Removing files, links and folders."""

from __future__ import annotations

import shutil
from pathlib import Path


def remove(path: Path, *, missing_ok: bool = False) -> None:
    """Remove a file, a link (not what it points to), or a folder with its content.

    Raises:
        OSError: it cannot be removed, or is not there and ``missing_ok`` is false.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=missing_ok)
