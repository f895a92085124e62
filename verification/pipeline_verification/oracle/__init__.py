"""The oracle: every table of the warehouse, computed in pandas from a data set and a history.

It shares no code with the steps or with dbt: the source is a set of data frames, loading is
"last writer wins", and each mart is implemented a second time from its definition.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from ecommerce_pipeline.contract import TABLES, Table
from pipeline_verification.oracle import marts
from pipeline_verification.oracle.history import Event
from pipeline_verification.oracle.replay import Replay, replay
from pipeline_verification.oracle.source_state import SourceState

_TIME = pa.timestamp("us", tz="UTC")
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
    tables = {}
    for table in TABLES:
        deleted = replayed.deleted(table.name)[list(table.key)]
        for name, rows, schema in (
            (table.name, replayed.raw[table.name], table.arrow_schema),
            (f"deleted_{table.name}", deleted, _key_schema(table)),
        ):
            tables[f"raw.{name}"] = pa.Table.from_pandas(rows, schema, preserve_index=False)
    loaded = [
        {
            "table_name": table,
            "interval_start": interval.start,
            "interval_end": interval.end,
            "row_count": rows,
        }
        for (table, interval), rows in replayed.loaded.items()
    ]
    tables["raw.loaded_intervals"] = pa.Table.from_pylist(loaded, _LOADED_INTERVALS)
    return tables


def _marts(replayed: Replay) -> dict[str, pa.Table]:
    present = {table.name: replayed.present(table.name) for table in TABLES}
    return {
        "marts.dim_customers": marts.dim_customers(present["customers"], present),
        "marts.dim_products": marts.dim_products(present),
        "marts.fct_orders": marts.fct_orders(present),
        "marts.fct_page_views": marts.fct_page_views(present),
        "marts.daily_revenue_by_category": marts.daily_revenue_by_category(present),
    }


def _key_schema(table: Table) -> pa.Schema:
    return pa.schema([table.arrow_schema.field(name) for name in table.key])
