"""JSON messages over a socket, one a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BufferedRWPair
from typing import Any


def send(stream: BufferedRWPair, message: Mapping[str, Any]) -> None:
    """Write one message as a line of JSON."""
    stream.write(json.dumps(message).encode() + b"\n")
    stream.flush()


def receive(stream: BufferedRWPair) -> dict[str, Any] | None:
    """Read one message; None when the other side has gone."""
    try:
        line = stream.readline()
    except ConnectionError:
        return None
    # Without its end the line is what a process that was killed had sent so far.
    if not line.endswith(b"\n"):
        return None
    message: dict[str, Any] = json.loads(line)
    return message
