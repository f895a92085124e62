"""The oracle: every table of the warehouse, computed in pandas from a data set and a history.

It shares no code with the steps or with dbt: the source is a set of data frames, loading is
"last writer wins", and each mart is implemented a second time from its definition.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ecommerce_pipeline.contract import TABLES
from pipeline_verification.oracle import marts
from pipeline_verification.oracle.history import Event
from pipeline_verification.oracle.replay import Replay, replay
from pipeline_verification.oracle.source_state import SourceState

_TIME = pa.timestamp("us", tz="UTC")
_CURRENT_CUSTOMER_KEYS = pa.schema({"id": pa.int64(), "as_of": _TIME})
_LOADED_INTERVALS = pa.schema(
    {
        "table_name": pa.string(),
        "interval_start": _TIME,
        "interval_end": _TIME,
        "row_count": pa.int64(),
    }
)


def expected_tables(source: SourceState, history: Sequence[Event]) -> dict[str, pa.Table]:
    """The content of each table of the warehouse after a history, by ``schema.table``.

    The snapshot's closed versions depend on the order of the runs, its current ones do not.

    Args:
        source: the source before the first event; the call advances it to the last.
        history: what happened, in order.
    """
    replayed = replay(source, history)
    return {
        **_raw_tables(replayed),
        **_marts(replayed),
        "snapshots.snap_customers": replayed.customer_versions.snap_customers(),
    }


def _raw_tables(replayed: Replay) -> dict[str, pa.Table]:
    tables = {
        f"raw.{table.name}": pa.Table.from_pandas(
            replayed.raw[table.name], table.arrow_schema, preserve_index=False
        )
        for table in TABLES
    }
    as_of = replayed.customers_as_of
    current_keys = [
        {"id": customer, "as_of": as_of.end if as_of else None}
        for customer in replayed.current_customer_keys
    ]
    loaded = [
        {
            "table_name": table,
            "interval_start": interval.start,
            "interval_end": interval.end,
            "row_count": rows,
        }
        for (table, interval), rows in replayed.loaded.items()
    ]
    tables["raw.current_customer_keys"] = pa.Table.from_pylist(current_keys, _CURRENT_CUSTOMER_KEYS)
    tables["raw.loaded_intervals"] = pa.Table.from_pylist(loaded, _LOADED_INTERVALS)
    return tables


def _marts(replayed: Replay) -> dict[str, pa.Table]:
    raw = replayed.raw
    return {
        "marts.dim_customers": marts.dim_customers(replayed.customers, raw),
        "marts.dim_products": marts.dim_products(raw),
        "marts.fct_orders": marts.fct_orders(raw),
        "marts.fct_page_views": marts.fct_page_views(raw),
        "marts.daily_revenue_by_category": marts.daily_revenue_by_category(raw),
    }
