"""Landing files: Parquet with a sidecar that describes them, and their verification.

Beside ``<label>.parquet`` lie ``<label>.json`` and ``<label>.keys.parquet``, which the same sidecar
covers: the key and ``updated_at`` of every row that the source had at the extraction, also outside
the interval; of a large table only of the rows updated at the interval's end or later.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLES, Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory

KEY_SNAPSHOT_SUFFIX = ".keys.parquet"


@dataclass(frozen=True, slots=True)
class FileDigest:
    """Rows, size and checksum of a Parquet file, by which a damaged one is found."""

    rows: int
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, rows: int) -> Self:
        """The digest of a finished file."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(rows, path.stat().st_size, digest)


@dataclass(frozen=True, slots=True)
class Sidecar:
    """The description of one landing file.

    Attributes:
        table: the source table.
        interval: the data interval.
        file: the Parquet file's rows, size and checksum.
        sums: the exact sum of each money and quantity column.
        source_rows: how many rows the source had then, inside the interval or not.
        key_snapshot: the key snapshot's rows, size and checksum.
        has_all_keys: whether the key snapshot has every row, not only the later ones.
        warnings: what a reader should know, such as a column that the contract lacks.
        extracted_at: the wall clock in UTC; it only tells which of two extractions is the later.
    """

    table: str
    interval: DataInterval
    file: FileDigest
    sums: Mapping[str, int]
    extracted_at: datetime
    source_rows: int
    key_snapshot: FileDigest
    has_all_keys: bool = True
    warnings: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> int:
        """The rows in the Parquet file."""
        return self.file.rows


def sidecar_file(path: Path) -> Path:
    """The path of a landing file's sidecar."""
    return path.with_suffix(".json")


def key_snapshot_file(path: Path) -> Path:
    """The path of a landing file's key snapshot."""
    return path.with_suffix(KEY_SNAPSHOT_SUFFIX)


def key_schema(table: Table) -> pa.Schema:
    """The exact schema of the table's key snapshots: the key's columns and ``updated_at``."""
    return pa.schema([table.arrow_schema.field(name) for name in (*table.key, "updated_at")])


def write_sidecar(path: Path, sidecar: Sidecar, schema: pa.Schema) -> None:
    """Write the sidecar of the landing file ``path`` atomically."""
    content = {
        "table": sidecar.table,
        "interval": str(sidecar.interval),
        "file": _digest_to_json(sidecar.file),
        "source_rows": sidecar.source_rows,
        "key_snapshot": _digest_to_json(sidecar.key_snapshot),
        "has_all_keys": sidecar.has_all_keys,
        "schema": [
            {"name": each.name, "type": str(each.type), "nullable": each.nullable}
            for each in schema
        ],
        "sums": dict(sidecar.sums),
        "warnings": list(sidecar.warnings),
        "extracted_at": sidecar.extracted_at.isoformat(),
    }
    with atomic_file(sidecar_file(path), point="landing_sidecar") as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


def read_sidecar(path: Path) -> Sidecar:
    """Read the sidecar of the landing file ``path``.

    Raises:
        PipelineError: it is missing or unreadable.
    """
    sidecar = sidecar_file(path)
    try:
        content = json.loads(sidecar.read_text())
        return Sidecar(
            table=content["table"],
            interval=DataInterval.parse(content["interval"]),
            file=FileDigest(**content["file"]),
            sums=content["sums"],
            extracted_at=datetime.fromisoformat(content["extracted_at"]),
            source_rows=content["source_rows"],
            key_snapshot=FileDigest(**content["key_snapshot"]),
            has_all_keys=content["has_all_keys"],
            warnings=tuple(content["warnings"]),
        )
    except FileNotFoundError:
        raise _broken(sidecar, "is missing") from None
    except (OSError, ValueError, KeyError, TypeError, PipelineError) as error:
        raise _broken(sidecar, f"is unreadable ({type(error).__name__})") from error


def landed_before(context: StepContext, table: Table) -> list[DataInterval]:
    """The earlier intervals that the lookback reaches and that have a landing file, in order."""
    earlier = context.interval.preceding(context.lookback)
    files = {each: context.run.landing_file(table.name, each) for each in earlier}
    return [each for each, path in files.items() if sidecar_file(path).exists()]


def landed_intervals(run: RunDirectory) -> list[DataInterval]:
    """The intervals of which every table was extracted, in the order of their ends and starts.

    One with an unreadable sidecar is left out, as if it had never been extracted.
    """
    found = [_landed(run.landing / table.name) for table in TABLES]
    whole = set.intersection(*found)
    return sorted(whole, key=lambda interval: (interval.end, interval.start))


def _landed(folder: Path) -> set[DataInterval]:
    intervals = set()
    for path in folder.glob("*.json"):
        with contextlib.suppress(PipelineError):
            intervals.add(read_sidecar(path).interval)
    return intervals


def verify(table: Table, path: Path) -> Sidecar:
    """Check that the landing file ``path``, and its key snapshot, are what the sidecar says.

    Raises:
        PipelineError: a file is missing, truncated, changed, or of another table or schema.
    """
    sidecar = read_sidecar(path)
    if sidecar.table != table.name:
        raise _broken(path, f"holds the table {sidecar.table}, not {table.name}")
    _verify_file(path, sidecar.file, table.arrow_schema)
    _verify_file(key_snapshot_file(path), sidecar.key_snapshot, key_schema(table))
    return sidecar


def _verify_file(path: Path, expected: FileDigest, schema: pa.Schema) -> None:
    try:
        # The checksum before the Parquet reader, which may fail oddly on a damaged file.
        actual = FileDigest.of(path, expected.rows)
        # The size first, only because it says more to a reader: a truncated file is recognised.
        if actual.bytes != expected.bytes:
            raise _broken(path, f"has {actual.bytes} bytes, not {expected.bytes}")
        if actual.sha256 != expected.sha256:
            raise _broken(path, "is not the file that its sidecar describes")
        with pq.ParquetFile(path) as parquet:
            rows, found = parquet.metadata.num_rows, parquet.schema_arrow
    except FileNotFoundError:
        raise _broken(path, "is missing") from None
    except (OSError, pa.ArrowException) as error:
        raise _broken(path, f"is unreadable ({error})") from error
    if found != schema:
        raise _broken(path, "has other columns or types than the contract")
    if rows != expected.rows:
        raise _broken(path, f"has {rows} rows, not {expected.rows}")


def _broken(path: Path, what: str) -> PipelineError:
    return PipelineError(f"the landing file {path} {what}", "extract the interval again")


def _digest_to_json(digest: FileDigest) -> dict[str, Any]:
    return {"rows": digest.rows, "bytes": digest.bytes, "sha256": digest.sha256}
