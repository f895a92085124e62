"""The customers' history as a snapshot by ``updated_at`` records it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from ecommerce_pipeline.contract import CUSTOMERS
from ecommerce_pipeline.interval import DataInterval
from pipeline_verification.oracle.keys import version_id

_TIME = pa.timestamp("us", tz="UTC")
SNAP_CUSTOMERS = pa.schema(
    {
        "customer_id": pa.int64(),
        "email": pa.string(),
        "name": pa.string(),
        "country": pa.string(),
        "created_at": _TIME,
        "updated_at": _TIME,
        "dbt_scd_id": pa.string(),
        "dbt_updated_at": _TIME,
        "dbt_valid_from": _TIME,
        "dbt_valid_to": _TIME,
    }
)


Row = dict[str, Any]


@dataclass(slots=True)
class _Version:
    """One version of a customer: its row in the source, and from when to when it is valid."""

    row: Row
    valid_from: datetime
    valid_to: datetime | None = None


class CustomerVersions:
    """Versions of customers, each valid from its ``updated_at`` until the next one's.

    A deleted customer's version ends when a run first sees the customer missing. One who returns
    has a new version, valid from the interval of the return at the earliest; when the same interval
    is run again and finds the customer, there was no deletion.
    """

    def __init__(self) -> None:
        self._versions: dict[int, list[_Version]] = {}

    def record(self, customers: pd.DataFrame, newest: DataInterval) -> None:
        """Compare the customers with their last versions; close and open what changed.

        Args:
            customers: every customer that exists, in the source contract's columns.
            newest: the newest interval that was loaded.
        """
        table = pa.Table.from_pandas(customers, CUSTOMERS.arrow_schema, preserve_index=False)
        present = {row["id"]: row for row in table.to_pylist()}
        for customer, versions in self._versions.items():
            if customer not in present and versions[-1].valid_to is None:
                versions[-1].valid_to = newest.end
        for customer, row in present.items():
            self._see(self._versions.setdefault(customer, []), row, newest)

    def _see(self, versions: list[_Version], row: Row, newest: DataInterval) -> None:
        changed_at: datetime = row["updated_at"]
        last = versions[-1] if versions else None
        if last is None:
            versions.append(_Version(row, changed_at))
            return
        if last.valid_to == newest.end:
            last.valid_to = None
        if last.valid_to is not None:
            versions.append(_Version(row, max(changed_at, last.valid_to, newest.start)))
        elif changed_at <= last.valid_from:
            last.row = row  # a correction, not a change
        else:
            last.valid_to = changed_at
            versions.append(_Version(row, changed_at))

    def snap_customers(self) -> pa.Table:
        """Every version as a row of the snapshot; an open one has no ``dbt_valid_to``."""
        rows = [
            {
                **each.row,
                "customer_id": customer,
                "dbt_scd_id": version_id(customer, each.valid_from),
                "dbt_updated_at": each.valid_from,
                "dbt_valid_from": each.valid_from,
                "dbt_valid_to": each.valid_to,
            }
            for customer, versions in self._versions.items()
            for each in versions
        ]
        return pa.Table.from_pylist(rows, SNAP_CUSTOMERS)
