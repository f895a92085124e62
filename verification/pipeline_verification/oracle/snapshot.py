"""The customers' history as a snapshot by ``updated_at`` records it."""

from __future__ import annotations

from datetime import datetime

import pandas as pd
import pyarrow as pa

from ecommerce_pipeline.contract import CUSTOMERS
from pipeline_verification.oracle.keys import version_id
from pipeline_verification.oracle.source_state import empty_frame

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


class CustomerVersions:
    """Versions of customers, each valid from its ``updated_at`` until the next one's.

    A deleted customer's version ends when a run first sees the customer missing.
    """

    def __init__(self) -> None:
        self._open = empty_frame(CUSTOMERS)
        self._closed = [self._open.assign(valid_to=self._open["updated_at"])]

    def record(self, customers: pd.DataFrame, seen_at: datetime) -> None:
        """Compare the customers with the open versions; close and open what changed.

        Args:
            customers: every customer that exists, in the source contract's columns.
            seen_at: the logical time of the comparison, UTC.
        """
        now = customers[["id", "updated_at"]].rename(columns={"updated_at": "valid_to"})
        versions = self._open.merge(now, on="id", how="left")
        gone = versions["valid_to"].isna()
        ended = gone | (versions["valid_to"] > versions["updated_at"])
        self._closed.append(versions[ended].fillna({"valid_to": seen_at}))
        kept = versions[~ended].drop(columns="valid_to")
        new = customers[~customers["id"].isin(kept["id"])]
        self._open = pd.concat([kept, new], ignore_index=True)

    def snap_customers(self) -> pa.Table:
        """Every version as a row of the snapshot; an open one has no ``dbt_valid_to``."""
        versions = pd.concat([*self._closed, self._open], ignore_index=True)
        ids = zip(versions["id"], versions["updated_at"], strict=True)
        rows = versions.rename(columns={"id": "customer_id", "valid_to": "dbt_valid_to"}).assign(
            dbt_scd_id=[version_id(*version) for version in ids],
            dbt_updated_at=versions["updated_at"],
            dbt_valid_from=versions["updated_at"],
        )
        return pa.Table.from_pandas(
            rows[SNAP_CUSTOMERS.names], SNAP_CUSTOMERS, preserve_index=False
        )
