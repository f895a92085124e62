"""The page "Source databases" lists exactly what the contract demands."""

from __future__ import annotations

import re

from ecommerce_pipeline.contract import ORDER_STATUSES, TABLES, ColumnType
from pipeline_verification.harness.environments import ROOT

PAGE = (ROOT / "docs" / "pages" / "source-databases.md").read_text()
TYPES = {ColumnType.INTEGER: "integer", ColumnType.TEXT: "text", ColumnType.TIMESTAMP: "time"}


def test_the_page_lists_the_contracts_columns() -> None:
    """Each column is listed in order with its type, whether it may be NULL, and the key."""
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\w+) \| (yes|no) \| (yes)? *\|$", PAGE, re.M)
    assert rows == [
        (
            table.name,
            column.name,
            TYPES[column.type],
            "yes" if column.nullable else "no",
            "yes" if column.name in table.key else "",
        )
        for table in TABLES
        for column in table.columns
    ]


def test_the_page_names_every_status() -> None:
    """The statuses of an order are those that the contract accepts."""
    assert [status for status in ORDER_STATUSES if f"`{status}`" not in PAGE] == []
