"""Reading the published copy: one whole version, whatever is being published meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage.duckdb_connection import connect_duckdb
from ecommerce_pipeline.storage.parquet import parquet_table

MANIFEST = "manifest.json"
DATABASE = "warehouse.duckdb"
# What reading a manifest can raise that is cut off, or of another form.
_DAMAGES = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The content of one table in figures.

    Attributes:
        columns: the DuckDB type of each column, in order.
        rows: how many rows there are.
        checksum: the sum of DuckDB's ``hash(row)`` modulo 2^64 in hexadecimal; it does not
            depend on the rows' order.
    """

    columns: Mapping[str, str]
    rows: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a version.

    Attributes:
        interval: the data interval whose run published it.
        newest_interval: the loaded interval with the latest end.
        tables: by ``schema.table``.
        covered: the time of which the rows are loaded, as few intervals as possible, in order.
    """

    interval: DataInterval
    newest_interval: DataInterval
    tables: Mapping[str, PublishedTable]
    covered: Sequence[DataInterval] = ()

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``, the same bytes for the same content."""
        values = {
            "interval": str(self.interval),
            "newest_interval": str(self.newest_interval),
            "covered": [str(interval) for interval in self.covered],
            "tables": {name: asdict(self.tables[name]) for name in sorted(self.tables)},
        }
        (folder / MANIFEST).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the ``manifest.json`` of a version."""
        values = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return cls(
            interval=DataInterval.parse(values["interval"]),
            newest_interval=DataInterval.parse(values["newest_interval"]),
            tables={name: PublishedTable(**table) for name, table in values["tables"].items()},
            covered=tuple(DataInterval.parse(text) for text in values["covered"]),
        )


@dataclass(frozen=True, slots=True)
class PublishedCopy:
    """An open version; the connection, in UTC, has each table under its schema and name."""

    manifest: Manifest
    connection: duckdb.DuckDBPyConnection


def covered(run: RunDirectory) -> Sequence[DataInterval]:
    """The time of which the published copy has the rows; none where nothing is published.

    Raises:
        PipelineError: the copy is damaged.
    """
    try:
        return Manifest.read(run.published.resolve()).covered
    except FileNotFoundError:
        return ()
    except _DAMAGES as error:
        raise PipelineError(
            f"the published copy {run.published} is damaged: {error}",
            f"remove the link {run.published} and run the interval again",
        ) from error


def resolve(run: RunDirectory) -> Path:
    """The folder of the version that is current now, for a reader of several files.

    The link ``published`` may be replaced between two reads, the version's own files never change.
    They stay for at least ``PIPELINE_PUBLISHED_KEEP_HOURS`` (default: 24) after the version is
    replaced.

    Raises:
        PipelineError: nothing is published.
    """
    folder = run.published.resolve()
    if not folder.is_dir():
        raise _nothing_published(run)
    return folder


@contextmanager
def open_published(run: RunDirectory) -> Iterator[PublishedCopy]:
    """Open the current version of a run's published copy.

    The tables are views over the Parquet files, so that neither the publisher nor a reader who
    opened the DuckDB file for writing can block this one.

    Raises:
        PipelineError: nothing is published, or the copy is damaged.
    """
    folder = resolve(run)
    try:
        manifest = Manifest.read(folder)
        connection = _connect(folder, manifest)
    except FileNotFoundError:
        raise _nothing_published(run) from None
    except (*_DAMAGES, duckdb.Error) as error:
        raise PipelineError(
            f"the published copy {folder} is damaged: {error}", "run the step publish again"
        ) from error
    with connection:
        yield PublishedCopy(manifest, connection)


def _nothing_published(run: RunDirectory) -> PipelineError:
    return PipelineError(f"nothing is published in {run.published}", "run the step publish first")


def _connect(folder: Path, manifest: Manifest) -> duckdb.DuckDBPyConnection:
    connection = connect_duckdb()
    connection.execute("SET TimeZone = 'UTC'")  # the default is the machine's zone
    for name in manifest.tables:
        schema, _, table = name.partition(".")
        rows = parquet_table(parquet_file(folder, schema, table))
        connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        connection.execute(f"CREATE VIEW {qualified(schema, table)} AS FROM {rows}")
    return connection


def parquet_file(folder: Path, schema: str, table: str) -> Path:
    """Where a version keeps one table's Parquet file."""
    return folder / schema / f"{table}.parquet"


def qualified(schema: str, table: str) -> str:
    """The table's name in SQL."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in (schema, table))
