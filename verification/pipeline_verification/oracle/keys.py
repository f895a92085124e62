"""The surrogate keys: the exact texts that are hashed."""

from __future__ import annotations

import hashlib
from datetime import datetime


def page_view_id(session_id: str, page_url: str, viewed_at: datetime) -> str:
    """The surrogate key of a page view: the MD5 of its three parts, each after its length.

    A part is written as ``LENGTH:PART``, with the length in characters and no separator:
    ``2:s11:/26:2025-01-01 08:00:00.000000`` for the session ``s1`` and the page ``/``.
    """
    # Without the lengths, 'a' + 'bc' and 'ab' + 'c' would have the same key.
    parts = (session_id, page_url, _utc(viewed_at))
    return _md5("".join(f"{len(part)}:{part}" for part in parts))


def version_id(customer_id: int, updated_at: datetime) -> str:
    """dbt's key of a snapshot's version: the MD5 of ``ID|TIME``.

    The time is as DuckDB writes it in UTC, without a fraction's last zeros:
    ``2025-01-01 08:00:00.5+00``.
    """
    return _md5(f"{customer_id}|{_utc(updated_at).rstrip('0').rstrip('.')}+00")


def _utc(moment: datetime) -> str:
    """A time in UTC as ``2025-01-01 08:00:00.000000``."""
    return moment.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
