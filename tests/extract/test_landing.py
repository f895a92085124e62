"""A landing file is loaded only when it is provably what was extracted."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import CUSTOMERS, PRODUCTS
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.source import TableChanges, connect
from ecommerce_pipeline.steps.extract import extract_table
from ecommerce_pipeline.storage import landing
from ecommerce_pipeline.storage.landing import FileDigest

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def path(sqlite_url: str, tmp_path: Path) -> Path:
    """A landed customers file of one row, with its key snapshot and sidecar."""
    row = {"id": 1, "email": None, "name": "Ada", "created_at": NOON, "updated_at": NOON}
    with closing(connect(sqlite_url)) as source:
        source.create_tables()
        with source.transaction():
            upserts = pa.Table.from_pylist([row], schema=CUSTOMERS.arrow_schema)
            source.apply(TableChanges("customers", upserts))
    interval = DataInterval(NOON, NOON.replace(hour=13))
    context = StepContext(RunDirectory(tmp_path / "run"), interval, sqlite_url)
    extract_table(context, CUSTOMERS)
    return context.run.landing_file("customers", interval)


def test_a_whole_file_is_proved(path: Path) -> None:
    """What was extracted and not changed since is verified, whatever the interval's label is."""
    assert landing.verify(CUSTOMERS, path) == landing.read_sidecar(path)
    assert landing.key_snapshot_file(path).is_file()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (Path.unlink, "is missing"),
        (truncate, "bytes, not"),
        (flip_a_bit, "is not the file that its sidecar describes"),
    ],
)
@pytest.mark.parametrize(
    "which", [lambda path: path, landing.key_snapshot_file], ids=["rows", "keys"]
)
def test_a_damaged_file_is_refused(
    path: Path, which: Callable[[Path], Path], damage: Callable[[Path], None], what: str
) -> None:
    """A missing, truncated or changed file is refused by name, with a hint."""
    damage(which(path))
    with pytest.raises(PipelineError) as caught:
        landing.verify(CUSTOMERS, path)
    assert f"the landing file {which(path)} " in caught.value.message
    assert what in caught.value.message
    assert caught.value.hint == "extract the interval again"


@pytest.mark.parametrize("content", [None, "", "{}", "[]", '{"table": "customers"', "\0\xff"])
def test_a_damaged_sidecar_is_refused(path: Path, content: str | None) -> None:
    """Without a sidecar that can be read, the file is not loaded."""
    sidecar = landing.sidecar_file(path)
    if content is None:
        sidecar.unlink()
    else:
        sidecar.write_bytes(content.encode("latin-1"))
    with pytest.raises(PipelineError, match=f"the landing file {sidecar} is"):
        landing.verify(CUSTOMERS, path)


def test_another_tables_file_is_refused(path: Path) -> None:
    """A file is loaded only as the table that it was extracted from."""
    with pytest.raises(PipelineError, match="holds the table customers, not products"):
        landing.verify(PRODUCTS, path)


@pytest.mark.parametrize(
    ("rows", "recorded", "what"),
    [
        (pa.table({"id": pa.array([1], pa.int32())}), 1, "other columns or types"),
        (CUSTOMERS.arrow_schema.empty_table(), 1, "has 0 rows, not 1"),
    ],
)
def test_a_file_that_breaks_the_contract_is_refused(
    path: Path, rows: pa.Table, recorded: int, what: str
) -> None:
    """Even with the right checksum, other types or another number of rows are refused."""
    pq.write_table(rows, path)
    sidecar = landing.read_sidecar(path)
    changed = replace(sidecar, file=FileDigest.of(path, recorded))
    landing.write_sidecar(path, changed, rows.schema)
    with pytest.raises(PipelineError, match=what):
        landing.verify(CUSTOMERS, path)


def test_a_file_that_is_no_parquet_is_refused(path: Path) -> None:
    """Even with the right checksum, what cannot be read is refused."""
    path.write_bytes(b"PAR1 no Parquet PAR1")
    sidecar = landing.read_sidecar(path)
    changed = replace(sidecar, file=FileDigest.of(path, 1))
    landing.write_sidecar(path, changed, CUSTOMERS.arrow_schema)
    with pytest.raises(PipelineError, match="is unreadable"):
        landing.verify(CUSTOMERS, path)
