"""Files of one JSON object a line, appended to by many processes, read while they grow."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ecommerce_pipeline.files.permissions import PRIVATE_FILE, PRIVATE_FOLDER


def append(path: Path, value: Mapping[str, Any]) -> None:
    """Add one line and sync the file.

    Several processes may append at the same time. A line that a killed writer or a full disk left
    torn is ended first.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    # With O_APPEND the kernel seeks to the end and writes in one operation, so that one ``write``
    # of the whole line needs no lock: lines neither overwrite nor interrupt each other.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    try:
        line = json.dumps(value, sort_keys=True).encode() + b"\n"
        _write_all(descriptor, b"\n" + line if _ends_torn(descriptor) else line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Yield each whole line's object, leaving out torn lines; nothing where there is no file."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n"):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):  # a torn line may begin or end as another value
            yield value


def _ends_torn(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:  # a full disk makes a write short, and the next one raise
        data = data[os.write(descriptor, data) :]
