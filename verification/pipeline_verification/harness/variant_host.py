"""A variant in its own environment, controlled over a socket; ``remote_variant.py`` is the client.

``python -m pipeline_verification.harness.variant_host DESCRIPTOR FOLDER FORM`` answers one
JSON line with another. When the client closes the connection, it stops the variant and exits.
"""

from __future__ import annotations

import importlib
import platform
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import version
from io import BufferedRWPair
from typing import Any

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.messages import receive, send
from ecommerce_pipeline.execution.processes import exit_on_sigterm
from ecommerce_pipeline.harness.driver import PACKAGES
from ecommerce_pipeline.harness.variant import Variant
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import to_json
from pipeline_verification.harness.process_tree import adopt_orphans


class Host:
    """Answers requests with one variant."""

    def __init__(self, variant: Variant) -> None:
        self._variant = variant

    def start(self, settings: dict[str, Any]) -> dict[str, Any]:
        """Start the variant; return its pages' URLs and the versions of what it runs on."""
        self._variant.start(RunSettings.from_json(settings))
        packages = (*PACKAGES, *self._variant.packages)
        versions = {package: version(package) for package in packages}
        return {
            "addresses": dict(self._variant.addresses),
            "versions": {"python": platform.python_version(), **versions},
        }

    def run_interval(self, interval: str) -> dict[str, Any]:
        """Run one interval; return its ``IntervalRun`` as JSON."""
        return to_json(self._variant.run_interval(DataInterval.parse(interval)))

    def backfill(self, *intervals: str) -> list[dict[str, Any]]:
        """Run a backfill over the intervals; return its runs as JSON."""
        runs = self._variant.backfill([DataInterval.parse(text) for text in intervals])
        return [to_json(run) for run in runs]

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
            send(stream, _answer(requests[request["request"]], request["arguments"]))
    finally:
        host.stop()


def _answer(method: Callable[..., Any], arguments: list[Any]) -> dict[str, Any]:
    try:
        return {"value": method(*arguments)}
    except PipelineError as error:
        return {"error": error.to_json()}
    except Exception as error:
        traceback.print_exc()
        unexpected = PipelineError(f"{type(error).__name__}: {error}", "read the variant's log")
        return {"error": unexpected.to_json()}


def main(descriptor: str, folder: str, form: str) -> None:
    """Host the variant of a folder until the client closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the client, which ends us
    exit_on_sigterm()
    adopt_orphans()
    sys.path.insert(0, folder)  # run.py imports the modules beside it by their plain names
    make_variant = importlib.import_module("run").VARIANT
    with socket.socket(fileno=int(descriptor)) as connection:
        # A tool's services must not inherit it: the client would not see this process end.
        connection.set_inheritable(False)
        serve(Host(make_variant(form)), connection.makefile("rwb"))


if __name__ == "__main__":
    main(*sys.argv[1:])
