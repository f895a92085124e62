"""Builds the variants' environments side by side; a variant can run while others are built.

NOX_PYTHON=.venv/bin/python python -m pipeline_verification.harness.environment_builds
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotReady
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import ending_with_parent, exit_on_sigterm
from pipeline_verification.harness.environments import ROOT, interpreter, variant_names

# Names the Python whose nox builds the environments; nox itself is in no locked environment.
BUILDER_VARIABLE = "NOX_PYTHON"
LOGS = ROOT / "runs" / "environments"
# Two builds keep two cores and the network busy; more of them delay the first one.
MAX_PARALLEL = 2
PROGRESS_SECONDS = 10.0
BUILD_SECONDS = 3600.0
STOP_SECONDS = 10.0
FIRST_TIME = "about a minute with uv, three with pip"
UP_TO_DATE = "a few seconds each"


class EnvironmentBuilds:
    """Builds environments in the background, in the order of their names.

    Use it as a context manager: what still builds when the block ends is stopped.
    """

    def __init__(
        self,
        command: Callable[[str], Sequence[str]],
        names: Sequence[str],
        *,
        logs: Path = LOGS,
        find: Callable[[str], Path] = interpreter,
        say: Callable[[str], None] = print,
    ) -> None:
        """Nothing is built before ``start`` or the first ``interpreter``.

        Args:
            command: builds the environment of the variant that it is called with.
            names: the variants, the one that is needed first at the front.
            logs: the folder for one log per build.
            find: the Python of a finished environment; raises PipelineError where it is missing.
            say: prints one line of progress.
        """
        self._command = command
        self._names = tuple(names)
        self._logs = logs
        self._find = find
        self._say = say
        self._pool = ThreadPoolExecutor(MAX_PARALLEL, thread_name_prefix="build")
        self._builds: dict[str, Future[int]] = {}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._started = 0.0

    def __enter__(self) -> EnvironmentBuilds:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def start(self) -> None:
        """Start all builds; does nothing when they were started before."""
        if self._builds:
            return
        self._logs.mkdir(parents=True, exist_ok=True)
        missing = [name for name in self._names if not self._is_built(name)]
        work = f"building {len(missing)} of" if missing else "checking"
        self._say(
            f"{work} {len(self._names)} environments, {MAX_PARALLEL} at a time, "
            f"{FIRST_TIME if missing else UP_TO_DATE}; logs in {self._logs}"
        )
        self._started = time.monotonic()
        self._builds = {name: self._pool.submit(self._build, name) for name in self._names}

    def interpreter(self, name: str) -> Path:
        """The Python of a variant's environment; waits until it is built.

        Raises:
            PipelineError: there is no such variant, or its build failed; names the log.
        """
        self.start()
        build = self._builds.get(name)
        if build is not None and self._wait(name, build) != 0:
            raise PipelineError(
                f"the environment of {name} was not built", f"read {self._log(name)}"
            )
        return self._find(name)

    def wait_for_all(self) -> list[str]:
        """Wait for every build; the problems, one line for each build that failed."""
        problems = []
        for name in self._names:
            try:
                self.interpreter(name)
            except PipelineError as error:
                problems.append(str(error))
        return problems

    def _wait(self, name: str, build: Future[int]) -> int:
        while True:
            try:
                return build.result(timeout=PROGRESS_SECONDS)
            except NotReady:
                self._say(self._progress(name))

    def _progress(self, name: str) -> str:
        ready = sum(build.done() for build in self._builds.values())
        seconds = time.monotonic() - self._started
        return (
            f"waiting for the environment of {name}: "
            f"{ready} of {len(self._builds)} ready after {seconds:.0f} s"
        )

    def _is_built(self, name: str) -> bool:
        try:
            return self._find(name).exists()
        except PipelineError:
            return False

    def _build(self, name: str) -> int:
        with self._log(name).open("wb") as log:
            with self._lock:
                if self._closed:
                    return 1
                process = subprocess.Popen(
                    ending_with_parent(self._command(name)),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # Ctrl+C reaches us alone; _stop ends the whole group
                )
                self._running.add(process)
            try:
                return process.wait(BUILD_SECONDS)
            except subprocess.TimeoutExpired:
                _signal_group(process, signal.SIGKILL)
                return process.wait()
            finally:
                self._running.discard(process)

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def _stop(self) -> None:
        with self._lock:
            self._closed = True
            running = tuple(self._running)
        for process in running:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # The installer that nox started may outlive nox itself.
            _signal_group(process, signal.SIGKILL)
        self._pool.shutdown(cancel_futures=True)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def nox_builds() -> EnvironmentBuilds:
    """Builds of every variant's environment by nox, the control's first."""
    nox = (os.environ.get(BUILDER_VARIABLE, sys.executable), "-m", "nox")

    def command(name: str) -> list[str]:
        return [*nox, "-s", name, "--install-only"]

    return EnvironmentBuilds(command, variant_names(), say=_print)


def _print(line: str) -> None:
    # Into a pipe, unflushed progress would appear at the end only.
    print(line, flush=True)  # noqa: T201


def main() -> None:
    """Build all environments; one that cannot be built is reported and stops no other."""
    exit_on_sigterm()
    with nox_builds() as builds:
        for problem in builds.wait_for_all():
            _print(f"error: {problem}")


if __name__ == "__main__":
    main()
