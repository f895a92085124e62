"""The environment of everything that a run starts: stated here, not taken from the caller's shell.

A shell may be set up for another Airflow, dbt or PostgreSQL. What is not named in ``PASSED_ON`` or
``PREFIX`` reaches no service, no step, no dbt and no database driver of a run.
"""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

PREFIX = "PIPELINE_"
PASSED_ON: tuple[str, ...] = (
    *("PATH", "HOME", "USER", "LOGNAME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "TERM", "NO_COLOR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("PGPASSWORD", "PGPASSFILE"),  # for a source whose URL has no password
)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")  # for Slack
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# An address of a Unix socket has at most 107 bytes. Python's own in the temporary folder, as those
# of multiprocessing, are up to 40 bytes longer than the folder's path.
_LONGEST_TEMPORARY_FOLDER = 107 - 40
_SHORT_TEMPORARY_FOLDER = "/tmp"  # noqa: S108 (folders of mode 0700 are made in it)


def stated_environment(caller: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables of a process that a run starts, before those that the tool itself needs.

    Args:
        caller: from which the variables of ``PASSED_ON``, ``PREFIX`` and the proxies are taken.
    """
    passed_on = {
        name: value
        for name, value in caller.items()
        if name in PASSED_ON or name.startswith(PREFIX)
    }
    return {
        "PATH": os.defpath,
        "HOME": _home(),
        **_code(),
        **passed_on,
        **_proxies(caller),
        "TMPDIR": temporary_folder(caller),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUTF8": "1",
        "DO_NOT_TRACK": "1",
        "PYTHON_DOTENV_DISABLED": "1",  # dbt would read a file .env of any folder above
    }


def use_stated_environment() -> None:
    """Give this process the stated environment in place of its caller's."""
    environment = stated_environment()
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # computed again from TMPDIR


def temporary_folder(caller: Mapping[str, str] = os.environ) -> str:
    """The caller's ``TMPDIR`` where a Unix socket fits below it, else ``/tmp``."""
    folder = caller.get("TMPDIR") or tempfile.gettempdir()
    fits = len(os.fsencode(folder)) <= _LONGEST_TEMPORARY_FOLDER
    return folder if fits else _SHORT_TEMPORARY_FOLDER


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container may run as a user without an entry
        return tempfile.gettempdir()


def _proxies(caller: Mapping[str, str]) -> dict[str, str]:
    """The proxies, and the rule that no request to this machine goes through them."""
    proxies = {name: value for name, value in caller.items() if name.lower() in _PROXIES and value}
    excepted = caller.get("no_proxy") or caller.get("NO_PROXY") or ""
    if excepted.strip() != "*":
        excepted = ",".join(filter(None, [excepted, *_LOOPBACK]))
    # Some libraries read only one of the two spellings.
    return {**proxies, "no_proxy": excepted, "NO_PROXY": excepted}


def _code() -> dict[str, str]:
    """Where a child process finds the code of this process, which need not be installed."""
    folder = Path(__file__).parents[2]
    return {} if str(folder) in _installed_folders() else {"PYTHONPATH": str(folder)}


def _installed_folders() -> set[str]:
    return {path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")}
