"""A private PostgreSQL server on this machine, from a package or an installed PostgreSQL."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecommerce_pipeline.atomic import hidden_sibling
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.postgres_programs import Account, Programs, find_programs, reachable
from ecommerce_pipeline.source.postgres_programs import private_folder as new_private_folder

START_SECONDS = 60.0
STOP_SECONDS = 30.0
_USER = "pipeline"
_PASSWORD_FILE = "pipeline.password"  # noqa: S105 (a file's name)
_LOG_FILE = "server.log"
_PR_SET_PDEATHSIG = 1


@contextmanager
def running_server(data_folder: Path) -> Iterator[str]:
    """Start a server over ``data_folder``, made when missing; yield its URL; stop it at the end.

    It listens on 127.0.0.1 on a free port, has no socket file, and asks for a random password
    that only the URL and a private file in the data folder hold. Started by root, it runs as an
    unprivileged user; where that user cannot reach ``data_folder``, this becomes a link to a
    folder below the system's temporary root. On Linux it also stops when the thread that
    entered the block dies, by SIGKILL for instance.

    Raises:
        PipelineError: no PostgreSQL programs are found, or the server does not start.
    """
    account = Account.unprivileged(data_folder)
    with find_programs(account) as programs:
        _ensure_cluster(data_folder, programs, account)
        data = data_folder.resolve()
        process, url = _start(data, programs, account)
        try:
            yield url
        finally:
            _stop(process)
