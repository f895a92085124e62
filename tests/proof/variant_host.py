"""A variant in its own environment, told over a socket what to do; ``remote.py`` is the client.

``python -m proof.variant_host DESCRIPTOR FOLDER PIPELINE`` answers one JSON line with another. It
stops the variant and ends when the client goes away.
"""

from __future__ import annotations

import importlib
import platform
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from importlib.metadata import version
from io import BufferedRWPair
from pathlib import Path
from types import FrameType
from typing import Any

from ecommerce_pipeline import record
from ecommerce_pipeline.driver import PACKAGES
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.step_server import receive, send
from ecommerce_pipeline.variant import Variant, VariantSettings
from proof.process_tree import adopt_orphans


class Host:
    """Carries out requests on one variant."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant

    def start(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Start the variant; its pages and the versions of what it runs on."""
        staleness = timedelta(seconds=settings["max_staleness_seconds"])
        self._variant.start(
            VariantSettings(
                run=RunDirectory(Path(settings["run_dir"])),
                source_url=settings["source_url"],
                slack_webhook_url=settings["slack_webhook_url"],
                max_staleness=staleness,
            )
        )
        packages = (*PACKAGES, *self._variant.packages)
        versions = {package: version(package) for package in packages}
        return {
            "addresses": dict(self._variant.addresses),
            "versions": {"python": platform.python_version(), **versions},
        }

    def run_interval(self, interval: str) -> dict[str, Any]:
        """Run one interval."""
        return record.to_json(self._variant.run_interval(DataInterval.parse(interval)))

    def backfill(self, *intervals: str) -> list[dict[str, Any]]:
        """Run a backfill over the intervals."""
        runs = self._variant.backfill([DataInterval.parse(text) for text in intervals])
        return [record.to_json(run) for run in runs]

    def stop(self) -> None:
        """Stop the variant."""
        self._variant.stop()


def serve(host: Host, stream: BufferedRWPair) -> None:
    """Answer requests until there are no more, then stop the variant."""
    requests: dict[str, Callable[..., Any]] = {
        name: getattr(host, name) for name in ("start", "run_interval", "backfill", "stop")
    }
    try:
        while (request := receive(stream)) is not None:
            send(stream, _answer(requests[request["do"]], request["arguments"]))
    finally:
        host.stop()


def _answer(do: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"value": do(*arguments)}
    except PipelineError as error:
        return {"fault": error.fault, "mend": error.mend}
    except Exception as error:
        traceback.print_exc()
        return {"fault": f"{type(error).__name__}: {error}", "mend": "read the variant's log"}


def _stop(number: int, frame: FrameType | None) -> None:
    """Let SIGTERM stop the variant on the way out."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def main(descriptor: str, folder: str, pipeline: str) -> None:
    """Host the variant of a folder until the client goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the client, who then ends us
    signal.signal(signal.SIGTERM, _stop)
    adopt_orphans()
    sys.path.insert(0, folder)
    make_variant = importlib.import_module("run").VARIANT
    with socket.socket(fileno=int(descriptor)) as connection:
        connection.set_inheritable(False)
        serve(Host(make_variant(pipeline)), connection.makefile("rwb"))


if __name__ == "__main__":
    main(*sys.argv[1:])
