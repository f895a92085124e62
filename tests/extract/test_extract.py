"""Extraction: the interval's rows, exactly, in a file that depends on them alone."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import CUSTOMERS, ORDER_ITEMS, PRODUCTS, TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source import Source, TableChanges, connect
from ecommerce_pipeline.source.checks import check_columns
from ecommerce_pipeline.steps import extract
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.storage import landing

DAY = DataInterval.for_day(datetime(2025, 1, 2, tzinfo=UTC).date())
NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def product(
    key: int, updated_at: datetime = NOON, cents: int = 100, **other: str | None
) -> dict[str, Any]:
    return {
        "id": key,
        "sku": f"sku-{key}",
        "name": None,
        "category": "",
        "price_cents": cents,
        "created_at": updated_at,
        "updated_at": updated_at,
        **other,
    }


def item(key: int, quantity: int, cents: int) -> dict[str, Any]:
    return {
        "id": key,
        "order_id": 1,
        "product_id": 1,
        "quantity": quantity,
        "unit_price_cents": cents,
        "discount_cents": -cents,
        "updated_at": NOON,
    }


def customer(key: int, updated_at: datetime) -> dict[str, Any]:
    values = {"email": None, "name": "Ada", "country": None, "created_at": updated_at}
    return {"id": key, **values, "updated_at": updated_at}


def fill(url: str, rows: Mapping[Table, list[dict[str, Any]]]) -> None:
    with closing(connect(url)) as source:
        source.create_tables()
        with source.transaction():
            for table, those in rows.items():
                upserts = pa.Table.from_pylist(those, schema=table.arrow_schema)
                source.apply(TableChanges(table.name, upserts))


def execute(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.execute(statement)
            connection.commit()
    else:
        with psycopg.connect(url, autocommit=True) as server:
            server.execute(statement.encode())


def run(folder: Path, url: str, interval: DataInterval = DAY) -> StepContext:
    return StepContext(RunDirectory(folder), interval, url)


def landed(context: StepContext, table: Table) -> Path:
    return context.run.landing_file(table.name, context.interval)


def contents(folder: Path) -> dict[str, str]:
    """Each file below the folder with its checksum; sidecars without when they were made."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.suffix == ".json":
                content = json.dumps({**json.loads(content), "extracted_at": ""}).encode()
            found[str(path.relative_to(folder))] = hashlib.sha256(content).hexdigest()
    return found


def test_the_interval_is_landed_exactly(url: str, tmp_path: Path) -> None:
    """The file holds the rows of [start, end) in the contract's schema, by time and key."""
    moments = [DAY.start - MICROSECOND, DAY.start, DAY.end - MICROSECOND, DAY.end]
    early, first, last, late = (product(9 - i, moment) for i, moment in enumerate(moments))
    nasty = product(2**63 - 1, NOON, -(2**63), name="", category=None, sku='"a",\n\\N😀')
    fill(url, {PRODUCTS: [early, first, last, late, nasty, product(-1)]})
    context = run(tmp_path / "run", url)
    result = extract_table(context, PRODUCTS)
    table = pq.read_table(landed(context, PRODUCTS))
    assert table.schema.equals(PRODUCTS.arrow_schema)
    assert table.to_pylist() == [first, product(-1), nasty, last]
    size = landed(context, PRODUCTS).stat().st_size
    assert result == StepResult(rows={"products": 4}, details={"bytes": size})


def test_an_empty_interval_is_landed(url: str, tmp_path: Path) -> None:
    """Where nothing changed, every table has a valid file of no rows in the exact schema."""
    fill(url, {})
    context = run(tmp_path / "run", url)
    for table in TABLES:
        assert extract_table(context, table).rows == {table.name: 0}
        assert pq.read_table(landed(context, table)).equals(table.arrow_schema.empty_table())
        assert landing.verify(table, landed(context, table)).rows == 0


def test_the_sidecar_says_what_was_landed(url: str, tmp_path: Path) -> None:
    """It holds interval, rows, checksum, schema and the exact sums, beyond 64 bits as well."""
    big = 2**63 - 1
    fill(url, {ORDER_ITEMS: [item(1, 2, big), item(2, -1, big), item(3, 0, 5)]})
    context = run(tmp_path / "run", url)
    before = datetime.now(UTC)
    extract_table(context, ORDER_ITEMS)
    path = landed(context, ORDER_ITEMS)
    sidecar = landing.read_sidecar(path)
    assert (sidecar.table, sidecar.interval, sidecar.rows) == ("order_items", DAY, 3)
    assert sidecar.sums == {
        "quantity": 1,
        "unit_price_cents": 2 * big + 5,
        "discount_cents": -2 * big - 5,
    }
    assert sidecar.file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert sidecar.file.bytes == path.stat().st_size
    assert (sidecar.source_rows, sidecar.key_snapshot.rows, sidecar.has_all_keys) == (3, 3, True)
    assert before <= sidecar.extracted_at <= datetime.now(UTC)
    schema = json.loads(path.with_suffix(".json").read_text())["schema"]
    assert schema[-1] == {
        "name": "updated_at",
        "type": "timestamp[us, tz=UTC]",
        "nullable": False,
    }


def test_rows_come_with_all_keys(url: str, tmp_path: Path) -> None:
    """The key snapshot has every key of the source in order, also outside the interval."""
    fill(url, {CUSTOMERS: [customer(5, NOON), customer(3, DAY.end), customer(-4, DAY.end)]})
    context = run(tmp_path / "run", url)
    extract_table(context, CUSTOMERS)
    keys = pq.read_table(landing.key_snapshot_file(landed(context, CUSTOMERS)))
    assert keys.schema == landing.key_schema(CUSTOMERS)
    assert keys.to_pydict() == {"id": [-4, 3, 5], "updated_at": [DAY.end, DAY.end, NOON]}
    sidecar = landing.verify(CUSTOMERS, landed(context, CUSTOMERS))
    assert (sidecar.rows, sidecar.source_rows, sidecar.has_all_keys) == (1, 3, True)


def test_a_large_table_comes_with_its_later_keys(url: str, tmp_path: Path) -> None:
    """Above the limit the key snapshot has only the rows updated at the interval's end or later."""
    fill(url, {CUSTOMERS: [customer(5, NOON), customer(3, DAY.end), customer(-4, DAY.end)]})
    context = replace(run(tmp_path / "run", url), key_snapshot_rows=2)
    extract_table(context, CUSTOMERS)
    keys = pq.read_table(landing.key_snapshot_file(landed(context, CUSTOMERS)))
    assert keys.to_pydict() == {"id": [-4, 3], "updated_at": [DAY.end, DAY.end]}
    sidecar = landing.verify(CUSTOMERS, landed(context, CUSTOMERS))
    assert (sidecar.rows, sidecar.source_rows, sidecar.has_all_keys) == (1, 3, False)


def test_a_lookback_extracts_the_intervals_before_again(url: str, tmp_path: Path) -> None:
    """Rows of an earlier interval that were committed late are landed; its keys stay as they were.

    An interval that was never extracted is left out, since only its own run makes it whole.
    """
    fill(url, {CUSTOMERS: [customer(1, NOON)]})
    first = run(tmp_path / "run", url)
    extract_table(first, CUSTOMERS)
    fill(url, {CUSTOMERS: [customer(2, NOON)]})
    second = replace(first, interval=DataInterval(DAY.end, DAY.end + (DAY.end - DAY.start)))
    result = extract_table(replace(second, lookback=3), CUSTOMERS)
    assert result.details["lookback_intervals"] == 1
    sidecar = landing.verify(CUSTOMERS, landed(first, CUSTOMERS))
    assert (sidecar.rows, sidecar.key_snapshot.rows) == (2, 1)
    assert pq.read_table(landed(first, CUSTOMERS))["id"].to_pylist() == [1, 2]
    assert landing.verify(CUSTOMERS, landed(second, CUSTOMERS)).key_snapshot.rows == 2


def test_rows_and_keys_are_of_one_moment(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A customer who comes while the rows are read is neither among them nor among the keys."""
    fill(url, {CUSTOMERS: [customer(1, NOON)]})

    def meanwhile(source: Source, table: Table) -> tuple[str, ...]:
        warnings = check_columns(source, table)
        fill(url, {CUSTOMERS: [customer(2, NOON)]})
        return warnings

    monkeypatch.setattr(extract, "check_columns", meanwhile)
    context = run(tmp_path / "run", url)
    assert extract_table(context, CUSTOMERS).rows == {"customers": 1}
    keys = pq.read_table(landing.key_snapshot_file(landed(context, CUSTOMERS)))
    assert keys["id"].to_pylist() == [1]


def test_a_repeat_gives_the_same_bytes(url: str, tmp_path: Path) -> None:
    """Extracting again leaves the same files, byte for byte but for when it was."""
    fill(url, {CUSTOMERS: [customer(i, NOON) for i in range(1000)]})
    context = run(tmp_path / "run", url)
    extract_table(context, CUSTOMERS)
    first = contents(tmp_path / "run")
    extract_table(context, CUSTOMERS)
    assert contents(tmp_path / "run") == first
    assert [Path(name).name for name in first] == [
        "2025-01-02.json",
        "2025-01-02.keys.parquet",
        "2025-01-02.parquet",
    ]


def test_both_databases_give_the_same_bytes(
    sqlite_url: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same rows land as the same files from SQLite and PostgreSQL, however they are handed."""
    monkeypatch.setattr(extract, "ROW_GROUP_ROWS", 30_001)
    rows = [
        product(i, NOON + i % 7 * MICROSECOND, name=f"name {i}" * (i % 50) if i % 3 else None)
        for i in range(70_000)
    ]
    for name, url in (("sqlite", sqlite_url), ("postgres", postgres_url)):
        fill(url, {PRODUCTS: rows})
        extract_table(run(tmp_path / name, url), PRODUCTS)
    assert contents(tmp_path / "sqlite") == contents(tmp_path / "postgres")
    file = pq.ParquetFile(landed(run(tmp_path / "sqlite", ""), PRODUCTS))
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    file.close()
    assert groups == [30_001, 30_001, 9_998]


def test_an_added_column_warns(url: str, tmp_path: Path) -> None:
    """A column that the contract lacks is left out, with a warning in result and sidecar."""
    fill(url, {PRODUCTS: [product(1)]})
    execute(url, "ALTER TABLE products ADD COLUMN colour TEXT")
    context = run(tmp_path / "run", url)
    warning = "the source column products.colour is not in the contract and is left out"
    assert extract_table(context, PRODUCTS).details["warnings"] == warning
    assert landing.read_sidecar(landed(context, PRODUCTS)).warnings == (warning,)
    assert pq.read_table(landed(context, PRODUCTS)).to_pylist() == [product(1)]


def failure(context: StepContext, table: Table) -> PipelineError:
    """What the extraction raises; it leaves no file."""
    with pytest.raises(PipelineError) as caught:
        extract_table(context, table)
    assert contents(context.run.path) == {}
    return caught.value


def test_missing_and_changed_columns_are_refused(url: str, tmp_path: Path) -> None:
    """Each column that is missing, renamed or of another type is named in one line."""
    fill(url, {})
    execute(url, "DROP TABLE products")
    kind = "REAL" if url.startswith("sqlite") else "numeric(12,2)"
    number = "BIGINT" if url.startswith("sqlite") else "bigint"
    text = "TEXT" if url.startswith("sqlite") else "text or character varying"
    integer = "INTEGER" if url.startswith("sqlite") else "bigint, integer or smallint"
    stamp = "INTEGER" if url.startswith("sqlite") else "timestamptz"
    execute(
        url,
        f"CREATE TABLE products (id BIGINT, sku BIGINT, title TEXT, category TEXT,"
        f" price_cents {kind}, created_at {stamp}, updated_at {stamp})",
    )
    error = failure(run(tmp_path / "run", url), PRODUCTS)
    assert error.message == (
        f"the source table products declares sku as {number}, not as {text}"
        f" and has no column name and declares price_cents as {kind}, not as {integer}"
    )
    assert not error.retryable


def test_a_missing_table_is_refused(url: str, tmp_path: Path) -> None:
    """A table that is gone is named."""
    fill(url, {})
    execute(url, "DROP TABLE products")
    assert "has no table products" in failure(run(tmp_path / "run", url), PRODUCTS).message


def test_null_where_the_contract_forbids_it_is_refused(url: str, tmp_path: Path) -> None:
    """NULL in a column that is never NULL is refused by column and key."""
    fill(url, {})
    execute(url, "DROP TABLE products")
    stamp = "INTEGER" if url.startswith("sqlite") else "timestamptz"
    moment = 1735819200000000 if url.startswith("sqlite") else "'2025-01-02 12:00Z'"
    execute(
        url,
        f"CREATE TABLE products (id BIGINT, sku TEXT, name TEXT, category TEXT,"
        f" price_cents BIGINT, created_at {stamp}, updated_at {stamp})",
    )
    execute(url, f"INSERT INTO products VALUES (1, 's', 'n', '', NULL, {moment}, {moment})")
    error = failure(run(tmp_path / "run", url), PRODUCTS)
    assert error.message == (
        "products.price_cents holds NULL, which the contract forbids, in the row with id=1"
    )


def test_a_failure_keeps_what_was_landed(sqlite_url: str, tmp_path: Path) -> None:
    """A repeat that fails leaves the files of the first time, valid."""
    fill(sqlite_url, {CUSTOMERS: [customer(1, NOON)]})
    context = run(tmp_path / "run", sqlite_url)
    extract_table(context, CUSTOMERS)
    before = contents(tmp_path / "run")
    shutil.move(tmp_path / "source.db", tmp_path / "moved.db")
    with pytest.raises(PipelineError):
        extract_table(context, CUSTOMERS)
    assert contents(tmp_path / "run") == before
    assert landing.verify(CUSTOMERS, landed(context, CUSTOMERS)).rows == 1
