"""Files that appear whole or not at all, also across SIGKILL and power loss."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecommerce_pipeline.files.crash_points import crash_point
from ecommerce_pipeline.files.permissions import PRIVATE_FOLDER


@contextmanager
def atomic_file(target: Path, *, point: str | None = None) -> Iterator[Path]:
    """Yield a hidden temporary path beside ``target``; on success sync it and rename it there.

    On an exception the temporary file is removed and ``target`` is as it was. A SIGKILL leaves
    at most the hidden file, which the next writer of ``target`` removes.

    Args:
        target: the file to make or replace.
        point: the crash points' name without their moment, such as ``landing``; None for none.
    """
    target.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    remove_leftovers(target)
    temporary = hidden_sibling(target)
    try:
        yield temporary
        # Before the rename, which may reach the disk earlier than the content: after a power loss
        # the target would be a file of the right name with nothing in it.
        sync_file(temporary)
        if point:
            crash_point(f"{point}:before_rename")
        temporary.replace(target)
        # Until the folder is synced a power loss may undo the rename, though not tear the file.
        sync_folder(target.parent)
        if point:
            crash_point(f"{point}:after_rename")
    finally:
        temporary.unlink(missing_ok=True)


def hidden_sibling(target: Path) -> Path:
    """A fresh name beside ``target``: no reader's glob matches it, and it has the writer's pid."""
    return target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"


def remove_leftovers(target: Path) -> None:
    """Delete the hidden files that killed writers of ``target`` left; spare living writers'."""
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        writer = leftover.name.split(".")[-2].partition("-")[0]
        # If another process has the id by now, the leftover stays until a later write.
        if writer.isdecimal() and not _is_alive(int(writer)):
            leftover.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True


def sync_file(path: Path) -> None:
    """Flush one file to the disk, also one that may only be read."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename in it lasts."""
    sync_file(path)
