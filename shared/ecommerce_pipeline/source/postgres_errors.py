"""PostgreSQL's errors as one line with the problem and a hint, without a credential."""

from __future__ import annotations

import psycopg
from psycopg import errors

from ecommerce_pipeline.errors import PipelineError

# libpq gives no SQLSTATE for a refused connection, only the text. These pass without help.
_PASSING = ("starting up", "shutting down", "too many clients", "reserved for roles")


def connection_error(error: psycopg.Error, shown_url: str) -> PipelineError:
    """Why no connection came about."""
    text = str(error)
    _, refused, reason = text.partition("FATAL:")
    if refused:
        return PipelineError(
            f"the source {shown_url} refuses the connection: {reason.splitlines()[0]}",
            "check the user, the password and the database in the source URL",
            retryable=any(passing in reason for passing in _PASSING),
        )
    return PipelineError(
        f"the source {shown_url} cannot be reached: {text.splitlines()[0]}",
        "check that the server runs, and the host and the port in the source URL",
        retryable=True,
    )


def query_error(error: psycopg.Error, shown_url: str, user: str) -> PipelineError:
    """Why a statement of a session of ``user`` failed."""
    reason = error.diag.message_primary or str(error).partition("\n")[0]
    hint, retryable = _hint(error, user)
    return PipelineError(f"the source {shown_url}: {reason}", hint, retryable=retryable)


def _hint(error: psycopg.Error, user: str) -> tuple[str, bool]:
    match error:
        case errors.UndefinedTable():
            return "create it with: ecommerce-pipeline source create URL", False
        case errors.InsufficientPrivilege():
            return _privilege(error, user), False
        case errors.SerializationFailure() | errors.DeadlockDetected():
            return "try again: another session changed the same rows", True
        case errors.LockNotAvailable():
            return "try again once the session that has locked the table has ended", True
        case psycopg.OperationalError():
            return "try again once the server answers", True
    return "check the source database and its data", False


def _privilege(error: psycopg.Error, user: str) -> str:
    if error.diag.source_file != "rls.c":
        return "grant the source URL's user the right to it"
    return (
        "let the source URL's user see all rows, for a superuser with: "
        f'ALTER ROLE "{user}" BYPASSRLS'
    )
