"""A variant that runs in its own environment, for who compares or measures several of them."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.messages import receive, send
from ecommerce_pipeline.harness.variant import NO_OP, PIPELINE
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import IntervalRun, interval_run_from_json
from pipeline_verification.harness.environments import interpreter, variant_folder

__all__ = ["NO_OP", "PIPELINE", "RemoteVariant"]

STOP_SECONDS = 60.0


class RemoteVariant:
    """The protocol ``Variant``, carried out by a process in the variant's own environment.

    Attributes:
        name: the variant's name.
        packages: empty; ``versions`` has them once it is started.
        addresses: where its pages are, once it is started.
        versions: of Python and the packages that matter, once it is started.
    """

    packages: Sequence[str] = ()

    def __init__(self, name: str, log: Path, pipeline: str = PIPELINE) -> None:
        """Prepare; nothing runs before ``start``.

        Args:
            name: a name of ``variant_names()``.
            log: where everything that the variant prints goes.
            pipeline: ``PIPELINE``, or ``NO_OP`` for as many steps that do nothing.

        Raises:
            PipelineError: there is no such variant, or its environment was not made yet.
        """
        self.name = name
        self.addresses: Mapping[str, str] = {}
        self.versions: Mapping[str, str] = {}
        self._log = log
        self._module = [str(interpreter(name)), "-m", "pipeline_verification.harness.variant_host"]
        self._arguments = [str(variant_folder(name)), pipeline]
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = False

    @property
    def pid(self) -> int:
        """The process below which everything of the variant runs."""
        return self._started().pid

    def start(self, settings: RunSettings) -> None:
        """Start the variant and wait until it is healthy.

        Raises:
            PipelineError: it does not become so; the message names a log.
        """
        self._log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        with self._log.open("ab") as log, theirs:
            self._process = subprocess.Popen(
                [*self._module, str(theirs.fileno()), *self._arguments],
                env={k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        self._connection = ours
        self._stream = ours.makefile("rwb")
        value = self._ask("start", settings.to_json())
        self.addresses, self.versions = value["addresses"], value["versions"]

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Trigger one interval and wait for its end.

        Raises:
            PipelineError: the tool refuses, or has ended.
        """
        return interval_run_from_json(self._ask("run_interval", str(interval)))

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Run the tool's own backfill and wait for its end.

        Raises:
            PipelineError: the tool refuses, or has ended.
        """
        runs = self._ask("backfill", *map(str, intervals))
        return [interval_run_from_json(run) for run in runs]

    def stop(self) -> None:
        """Have everything stopped; also after a failed start, and when it has ended already."""
        if self._process is None:
            return
        process, self._process = self._process, None
        self._connection.shutdown(socket.SHUT_RDWR)  # ends the host, which stops the variant
        self._stream.close()
        self._connection.close()
        if self._asking:  # Ctrl+C while it is at work, and looks at the connection only afterwards
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()

    def _ask(self, do: str, *arguments: object) -> Any:  # noqa: ANN401 (JSON)
        self._started()
        self._asking = True
        try:
            send(self._stream, {"do": do, "arguments": arguments})
            answer = receive(self._stream)
        except OSError:
            answer = None
        self._asking = False
        if answer is None:
            raise PipelineError(f"{self.name} ended while it was to {do}", f"read {self._log}")
        if "error" in answer:
            raise PipelineError.from_json(answer["error"])
        return answer["value"]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise PipelineError(f"{self.name} is not started", "start it first")
        return self._process
