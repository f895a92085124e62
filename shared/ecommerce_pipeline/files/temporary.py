"""Temporary folders that do not pile up: what a killed process left, the next one removes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked_folder(prefix: str, parent: str | None = None) -> Iterator[Path]:
    """Yield a new folder, which only this user may enter, and remove it after the block.

    Folders of the same prefix whose owner was killed are removed first.

    Args:
        prefix: how the folder's name begins; only folders made by this function may have it, as
            one without a lock is taken for a leftover.
        parent: where it is made; default: the system's temporary folder.

    Raises:
        OSError: no folder can be made.
    """
    upper = Path(parent or tempfile.gettempdir())
    _remove_leftovers(prefix, upper)
    folder, lock = _make(prefix, upper)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make(prefix: str, parent: Path) -> tuple[Path, int]:
    """A folder and the descriptor that locks it for as long as its owner lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # Before the lock is held, another process may take the folder for a leftover.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            lock = _lock(folder)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _lock(folder: Path) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # The kernel releases it when its holder ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_leftovers(prefix: str, parent: Path) -> None:
    """Remove this user's folders that no living process has locked."""
    for folder in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):  # locked, another user's, or removed meanwhile
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            lock = _lock(folder)
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
