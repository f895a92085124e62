"""The methods to bring one interval of orders to Parquet, each as its documentation shows it.

``python methods.py NAME FOLDER`` runs one in this process, leaves Parquet in ``FOLDER/landing``
and prints the seconds that it took without its imports. The database's URL is in
``BENCHMARK_URL``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shop import INTERVAL, URL_VARIABLE

QUERY = (
    f"SELECT * FROM orders WHERE updated_at >= '{INTERVAL.start}' AND updated_at < '{INTERVAL.end}'"
)


def ours(url: str, folder: Path) -> Callable[[], object]:
    """``extract_table``: ordered, checked, with checksum and sidecar, synced to disk."""
    import ecommerce_pipeline.source.postgres  # noqa: F401 (imported before the clock starts)
    from ecommerce_pipeline.context import StepContext
    from ecommerce_pipeline.contract import ORDERS
    from ecommerce_pipeline.run_directory import RunDirectory
    from ecommerce_pipeline.steps.extract import extract_table

    context = StepContext(RunDirectory(folder), INTERVAL, url)
    return lambda: extract_table(context, ORDERS)


def pandas(url: str, folder: Path) -> Callable[[], object]:
    """``pandas.read_sql`` over SQLAlchemy and ``to_parquet``, as the reference pipeline does it."""
    import pandas as pd
    import pyarrow.parquet  # noqa: F401 (imported before the clock starts)
    import sqlalchemy

    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg2:"))
    return lambda: pd.read_sql(QUERY, engine).to_parquet(
        folder / "landing" / "orders.parquet", index=False
    )


def connectorx(url: str, folder: Path) -> Callable[[], object]:
    """One query in the binary protocol to an Arrow table, the fastest return type documented."""
    import connectorx as cx
    import pyarrow.parquet as pq

    return lambda: pq.write_table(
        cx.read_sql(url, QUERY, return_type="arrow", protocol="binary"),
        folder / "landing" / "orders.parquet",
    )


def connectorx_partitioned(url: str, folder: Path) -> Callable[[], object]:
    """The same in as many partitions of the key as there are cores."""
    import connectorx as cx
    import pyarrow.parquet as pq

    return lambda: pq.write_table(
        cx.read_sql(
            url,
            QUERY,
            return_type="arrow",
            protocol="binary",
            partition_on="id",
            partition_num=os.cpu_count(),
        ),
        folder / "landing" / "orders.parquet",
    )


def dlt_pyarrow(url: str, folder: Path) -> Callable[[], object]:
    """``sql_table`` with the pyarrow backend, in chunks, to Parquet on the file system."""
    return _dlt(url, folder, backend="pyarrow", chunk_size=100_000)


def dlt_connectorx(url: str, folder: Path) -> Callable[[], object]:
    """``sql_table`` with the connectorx backend in Arrow batches, to Parquet on the file system."""
    return _dlt(url, folder, backend="connectorx", backend_kwargs={"return_type": "arrow"})


def _dlt(url: str, folder: Path, **options: object) -> Callable[[], object]:
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["RUNTIME__LOG_LEVEL"] = "CRITICAL"
    import dlt
    from dlt.destinations import filesystem
    from dlt.sources.sql_database import sql_table

    credentials = url.replace("postgresql:", "postgresql+psycopg2:")
    pipeline = dlt.pipeline(
        "benchmark",
        destination=filesystem(str(folder / "landing")),
        dataset_name="shop",
        pipelines_dir=str(folder / "state"),
    )
    incremental = dlt.sources.incremental(
        "updated_at",
        initial_value=INTERVAL.start,
        end_value=INTERVAL.end,
    )
    return lambda: pipeline.run(
        sql_table(credentials, table="orders", incremental=incremental, **options),
        loader_file_format="parquet",
    )


METHODS: dict[str, Callable[[str, Path], Callable[[], object]]] = {
    "ours": ours,
    "pandas.read_sql": pandas,
    "connectorx": connectorx,
    "connectorx partitioned": connectorx_partitioned,
    "dlt, pyarrow": dlt_pyarrow,
    "dlt, connectorx": dlt_connectorx,
}


if __name__ == "__main__":
    name, folder = sys.argv[1], Path(sys.argv[2])
    (folder / "landing").mkdir()
    extraction = METHODS[name](os.environ[URL_VARIABLE], folder)
    begun = time.perf_counter()
    extraction()
    print(time.perf_counter() - begun)  # noqa: T201 (the command's own output)
