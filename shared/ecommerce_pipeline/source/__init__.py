"""The source database: SQLite and PostgreSQL behind one interface, chosen by URL."""

from __future__ import annotations

from ecommerce_pipeline.source.base import ColumnInfo, Source, TableChanges
from ecommerce_pipeline.source.connect import connect, given_url, redact

__all__ = ["ColumnInfo", "Source", "TableChanges", "connect", "given_url", "redact"]
