"""A lock between processes that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.permissions import PRIVATE_FILE, PRIVATE_FOLDER


@contextmanager
def exclusive(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep the lock ``path`` during the block; its file has the holder's process id.

    Args:
        path: the lock's file, made when missing.
        wait: wait for another holder instead of refusing.

    Raises:
        PipelineError: another process holds it, without ``wait``; the message names that process.
    """
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    # "w" would erase the holder's process id. Nobody removes the file: a process that has it open
    # would then lock the removed file, while the next one locks a new file of the same name.
    with open(path, "a+", opener=_open_private) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise PipelineError(
                f"another run (process {file.read().strip() or 'unknown'}) holds {path}",
                "wait until it has ended; two runs never overlap",
                retryable=True,
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)
