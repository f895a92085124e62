"""Making an environment from a lock, with uv where there is one and with pip elsewhere."""

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
    """What installs.

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
        told = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, check=False
        ).stdout.split()
        return cls(" ".join(told[:2]) or "pip", uv)

    def __str__(self) -> str:
        return self.version

    def install(self, python: Path, lock: Path, environment: Path, cache: Path) -> float:
        """Make the environment anew and install the lock; the seconds that took.

        Args:
            python: the environment's interpreter is made from this one.
            lock: exact versions with hashes.
            environment: where; removed first.
            cache: the installer's cache.

        Raises:
            PipelineError: it failed.
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
        raise PipelineError(f"no end after {LIMIT_SECONDS} s", "look at the network") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise PipelineError(f"the installation failed: {last}", "look at the network")
