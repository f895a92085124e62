"""Opening a source database by its URL."""

from __future__ import annotations

from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source.base import Source

_SQLITE = "sqlite:///"
_HIDDEN = "postgresql://***"
_POSTGRES = ("postgresql://", "postgres://")


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
