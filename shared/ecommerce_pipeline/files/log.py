"""A log to which the output of steps and of other programs goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.permissions import PRIVATE_FILE


def open_log(path: Path) -> BinaryIO:
    """The log, open for appending without a buffer; only this user can read it.

    Raises:
        PipelineError: it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    except OSError as error:
        raise PipelineError(
            f"the step's log {path} cannot be written: {error.strerror or error}",
            "free disk space or make its folder writable, then run the interval again",
            retryable=True,
        ) from error
    return os.fdopen(descriptor, "ab", buffering=0)
