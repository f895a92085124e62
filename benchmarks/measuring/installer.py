"""Creates an environment from a lock, with uv if it is installed, else with pip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

STRICT = ("--no-deps", "--require-hashes", "-r")
LIMIT_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Installer:
    """The program that installs packages.

    Attributes:
        version: its name and version.
        uv: the path of uv; None for pip.
    """

    version: str
    uv: str | None

    @classmethod
    def find(cls) -> Installer:
        """The installer that nox prefers."""
        uv = shutil.which("uv")
        command = [uv] if uv else [sys.executable, "-m", "pip"]
        printed = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False
        ).stdout.split()
        return cls(" ".join(printed[:2]) or "pip", uv)

    def __str__(self) -> str:
        return self.version

    def install(self, python: Path, lock: Path, environment: Path, cache: Path) -> float:
        """Create the environment from scratch and install the lock; return the seconds it took.

        Args:
            python: the interpreter from which the environment is created.
            lock: exact versions with hashes.
            environment: its folder; removed first.
            cache: the installer's cache.

        Raises:
            PipelineError: it failed or took longer than ``LIMIT_SECONDS``.
        """
        shutil.rmtree(environment, ignore_errors=True)
        variables = {**os.environ, "UV_CACHE_DIR": str(cache), "PIP_CACHE_DIR": str(cache)}
        begun = time.perf_counter()
        for command in self._commands(python, lock, environment):
            _run(command, variables)
        return time.perf_counter() - begun

    def _commands(self, python: Path, lock: Path, environment: Path) -> list[list[str]]:
        made = str(environment / "bin" / "python")
        if self.uv is not None:
            install = [self.uv, "pip", "install", "--quiet", "--python", made]
            return [
                [self.uv, "venv", "--quiet", "--python", str(python), str(environment)],
                [*install, *STRICT, str(lock)],
            ]
        return [
            [str(python), "-m", "venv", str(environment)],
            [made, "-m", "pip", "install", "--quiet", *STRICT, str(lock)],
        ]


def _run(command: list[str], variables: dict[str, str]) -> None:
    try:
        done = subprocess.run(
            command,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise PipelineError(f"no end after {LIMIT_SECONDS} s", "check the network") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PipelineError(f"the installation failed: {last}", "check the network")
