"""A lock between processes that the kernel releases when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import wait_until
from ecommerce_pipeline.files.permissions import PRIVATE_FILE, PRIVATE_FOLDER

POLL_SECONDS = 0.1


@contextmanager
def shared(path: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Keep the lock ``path`` during the block beside others that share it, but no exclusive one.

    Args:
        path: the lock's file, made when missing.
        wait_seconds: how long to wait for an exclusive holder before refusing.

    Raises:
        PipelineError: another process still holds it, or the file cannot be made.
    """
    with _taken(path, fcntl.LOCK_SH, wait_seconds):
        yield


@contextmanager
def exclusive(path: Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Keep the lock ``path`` during the block; its file has the holder's process id.

    Args:
        path: the lock's file, made when missing.
        wait_seconds: how long to wait for another holder before refusing.

    Raises:
        PipelineError: another process still holds it, whose id the message names, or the file
            cannot be made.
    """
    with _taken(path, fcntl.LOCK_EX, wait_seconds):
        yield


@contextmanager
def _taken(path: Path, kind: int, wait_seconds: float) -> Iterator[None]:
    with _opened(path) as file:
        if not wait_until(
            lambda: _locked(file, kind), timeout_seconds=wait_seconds, poll_seconds=POLL_SECONDS
        ):
            raise _held(path, file, wait_seconds)
        with contextlib.suppress(OSError):  # on a full disk the lock is held, though unnamed
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


def _opened(path: Path) -> TextIO:
    # "w" would erase the holder's process id. Nobody removes the file: a process that has it open
    # would then lock the removed file, while the next one locks a new file of the same name.
    try:
        path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        return open(path, "a+", opener=_open_private)
    except OSError as error:
        raise PipelineError(
            f"the lock {path} cannot be made: {error.strerror or error}",
            "make its folder one that can be written to, or free disk space",
        ) from error


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)


def _locked(file: TextIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(path: Path, file: TextIO, waited_seconds: float) -> PipelineError:
    file.seek(0)
    waited = f", still after {waited_seconds:g} s" if waited_seconds else ""
    return PipelineError(
        f"another run (process {file.read().strip() or 'unknown'}) holds {path}{waited}",
        "wait until it has ended; two runs never overlap",
        retryable=True,
    )
