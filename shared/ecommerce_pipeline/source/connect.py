"""Opening a source database by its URL."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.base import Source

URL_VARIABLE = "PIPELINE_SOURCE_URL"
FROM_ENVIRONMENT, FROM_FILE = "env", "@"
_SQLITE = "sqlite:///"
_HIDDEN = "postgresql://***"
_POSTGRES = ("postgresql://", "postgres://")


def given_url(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The source that a command names, whose URL need not be an argument.

    Arguments are seen by every user of the machine, so a URL with a password comes from elsewhere:
    ``env`` takes it from the variable ``PIPELINE_SOURCE_URL``, ``@FILE`` from the file's one line.
    Other text is returned as it is.

    Raises:
        PipelineError: the variable is not set, the file cannot be read, or neither holds a URL.
    """
    if text == FROM_ENVIRONMENT:
        if (url := environment.get(URL_VARIABLE, "")) and _is_one_url(url):
            return url
        raise PipelineError(
            f"the source is to be read from {URL_VARIABLE}, which is not set to a URL",
            "set it to sqlite:////PATH or postgresql://USER:PASSWORD@HOST/DATABASE",
        )
    if text.startswith(FROM_FILE):
        return _url_in(Path(text.removeprefix(FROM_FILE)))
    return text


def _url_in(file: Path) -> str:
    try:
        url = file.read_text().strip()
    except OSError as error:
        raise PipelineError(
            f"the source's URL cannot be read from {file}: {error.strerror}",
            "name a file that holds it, as @FILE",
        ) from None
    except UnicodeDecodeError:
        url = ""
    if not _is_one_url(url):  # what it holds may be a password, and is not shown
        raise PipelineError(
            f"the file {file} does not hold one line with a URL",
            "write sqlite:////PATH or postgresql://USER:PASSWORD@HOST/DATABASE into it",
        )
    return url


def _is_one_url(text: str) -> bool:
    return "://" in text and len(text.splitlines()) == 1


def connect(url: str) -> Source:
    """Open the source at ``url``: ``sqlite:///PATH`` or ``postgresql://USER@HOST:PORT/DATABASE``.

    A SQLite path is not decoded, and an absolute one makes four slashes; the file is opened
    at its first use, and made only by ``create_tables``.

    Raises:
        PipelineError: the URL is of another kind, or the server cannot be reached or refuses.
    """
    if url.startswith(_SQLITE) and url != _SQLITE:
        # Imported here, so that a run on one database needs no driver of the other.
        from ecommerce_pipeline.source.sqlite import SqliteSource

        return SqliteSource(Path(url.removeprefix(_SQLITE)))
    shown = redact(url)
    if url.startswith(_POSTGRES) and shown != _HIDDEN:
        from ecommerce_pipeline.source.postgres import PostgresSource

        return PostgresSource.open(url, shown)
    raise PipelineError(
        f"{shown} is not the URL of a source database",
        "write it as sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/DATABASE,"
        " with %-escapes for special characters",
    )


def redact(url: str) -> str:
    """The URL without its password and parameters, to be shown in messages and records.

    Where it is not certain which part is the password, all but the scheme is hidden. A plain name,
    such as ``sqlite`` or ``shop.db``, is no URL and is shown as it is.
    """
    if url.startswith(_SQLITE) or url.replace(".", "_").isidentifier():
        return url
    if url.startswith(_POSTGRES):
        return _redact_postgres(url)
    scheme, separator, _ = url.partition("://")
    return f"{scheme}://***" if separator else "***"


def _redact_postgres(url: str) -> str:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    try:
        parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    except (psycopg.Error, UnicodeDecodeError):
        return _HIDDEN
    user, host, port = (parts.get(name, "") for name in ("user", "host", "port"))
    database = parts.get("dbname", "")
    if "@" in host + database or port.strip("0123456789,"):
        return _HIDDEN  # an unescaped character has split the password
    login = user + (":***" if "password" in parts else "")
    address = host + (f":{port}" if port else "")
    return f"postgresql://{login}{'@' if login else ''}{address}/{database}"
