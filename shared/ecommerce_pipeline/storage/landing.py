"""Landing files: Parquet with a sidecar that describes them, and their verification.

Beside ``<label>.parquet`` lies ``<label>.json``; where the source's keys were taken as well,
``<label>.keys.parquet``, which the same sidecar covers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from ecommerce_pipeline.contract import Table
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.interval import DataInterval


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
        key_snapshot: the key snapshot's rows, size and checksum; None where none was taken.
        warnings: what a reader should know, such as a column that the contract lacks.
        extracted_at: the wall clock in UTC, for people only.
    """

    table: str
    interval: DataInterval
    file: FileDigest
    sums: Mapping[str, int]
    extracted_at: datetime
    key_snapshot: FileDigest | None = None
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
    return path.with_suffix(".keys.parquet")


def key_schema(table: Table) -> pa.Schema:
    """The exact schema of the table's key snapshots."""
    return pa.schema([table.arrow_schema.field(name) for name in table.key])


def write_sidecar(path: Path, sidecar: Sidecar, schema: pa.Schema) -> None:
    """Write the sidecar of the landing file ``path`` atomically."""
    content = {
        "table": sidecar.table,
        "interval": str(sidecar.interval),
        "file": _digest_to_json(sidecar.file),
        "key_snapshot": sidecar.key_snapshot and _digest_to_json(sidecar.key_snapshot),
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
        keys = content["key_snapshot"]
        return Sidecar(
            table=content["table"],
            interval=DataInterval.parse(content["interval"]),
            file=FileDigest(**content["file"]),
            sums=content["sums"],
            extracted_at=datetime.fromisoformat(content["extracted_at"]),
            key_snapshot=keys and FileDigest(**keys),
            warnings=tuple(content["warnings"]),
        )
    except FileNotFoundError:
        raise _broken(sidecar, "is missing") from None
    except (OSError, ValueError, KeyError, TypeError, PipelineError) as error:
        raise _broken(sidecar, f"is unreadable ({type(error).__name__})") from error


def verify(table: Table, path: Path) -> Sidecar:
    """Check that the landing file ``path``, and its key snapshot, are what the sidecar says.

    Raises:
        PipelineError: a file is missing, truncated, changed, or of another table or schema.
    """
    sidecar = read_sidecar(path)
    if sidecar.table != table.name:
        raise _broken(path, f"holds the table {sidecar.table}, not {table.name}")
    _verify_file(path, sidecar.file, table.arrow_schema)
    if sidecar.key_snapshot is not None:
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
