"""A variant in a process of its own environment, so that one program can run several variants."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.execution.messages import receive, send
from ecommerce_pipeline.harness.variant import NATIVE
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import IntervalRun, interval_run_from_json
from ecommerce_pipeline.specification import longest_run_seconds
from pipeline_verification.harness.environments import interpreter, variant_folder

STOP_SECONDS = 60.0


class RemoteVariant:
    """Implements the protocol ``Variant`` by a process in the variant's own environment.

    Attributes:
        name: the variant's name.
        form: the form of its pipeline.
        packages: empty; ``versions`` has the packages.
        addresses: the URLs of its pages by title; empty before ``start``.
        versions: of Python and the packages that matter; empty before ``start``.
    """

    packages: Sequence[str] = ()

    def __init__(self, name: str, log: Path, form: str = NATIVE) -> None:
        """Nothing runs before ``start``.

        Args:
            name: a name of ``variant_names()``.
            log: receives everything that the variant prints.
            form: the form of its pipeline.

        Raises:
            PipelineError: there is no such variant, or its environment was not made yet.
        """
        self.name = name
        self.form = form
        self.addresses: Mapping[str, str] = {}
        self.versions: Mapping[str, str] = {}
        self._log = log
        self._module = [str(interpreter(name)), "-m", "pipeline_verification.harness.variant_host"]
        self._arguments = [str(variant_folder(name)), form]
        self._process: subprocess.Popen[bytes] | None = None
        self._request_is_open = False

    @property
    def pid(self) -> int:
        """The root of the variant's process tree."""
        return self._started().pid

    def start(self, settings: RunSettings) -> None:
        """Start the variant and wait until it is healthy.

        Raises:
            PipelineError: it does not become healthy; the hint names a log.
        """
        self._log.parent.mkdir(parents=True, exist_ok=True)
        # Not standard input and output: the tool prints to those.
        ours, theirs = socket.socketpair()
        with self._log.open("ab") as log, theirs:
            self._process = subprocess.Popen(
                [*self._module, str(theirs.fileno()), *self._arguments],
                env=stated_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
            )
        self._connection = ours
        self._stream = ours.makefile("rwb")
        value = self._request("start", settings.to_json())
        self.addresses, self.versions = value["addresses"], value["versions"]

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Trigger one interval and wait for its end.

        Raises:
            PipelineError: the tool refuses, or has ended.
        """
        return interval_run_from_json(self._request("run_interval", str(interval)))

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Run the tool's own backfill and wait for its end.

        Raises:
            PipelineError: the tool refuses, or has ended.
        """
        runs = self._request("backfill", *map(str, intervals))
        return [interval_run_from_json(run) for run in runs]

    def stop(self) -> None:
        """Stop the variant; also after a failed start, and when it has ended already."""
        if self._process is None:
            return
        process, self._process = self._process, None
        # The host sees the end of the connection, stops the variant and exits.
        self._connection.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        self._connection.close()
        if self._request_is_open:
            # Ctrl+C came during a request: the host would see the end of the connection only
            # after the interval.
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()  # SIGKILL cannot be ignored

    def _request(self, name: str, *arguments: object) -> Any:  # noqa: ANN401 (JSON)
        self._started()
        self._request_is_open = True
        try:
            # At most one interval for each argument.
            self._connection.settimeout(longest_run_seconds(len(arguments) + 1))
            send(self._stream, {"request": name, "arguments": arguments})
            answer = receive(self._stream)
        except OSError:
            answer = None
        self._request_is_open = False
        if answer is None:
            raise PipelineError(f"{self.name} ended or hung during {name}", f"read {self._log}")
        if "error" in answer:
            raise PipelineError.from_json(answer["error"])
        return answer["value"]

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise PipelineError(f"{self.name} is not started", "start it first")
        return self._process
