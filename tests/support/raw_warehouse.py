"""A run folder whose raw schema a test fills by hand, and the dbt steps on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from ecommerce_pipeline import steps
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES, ColumnType, Table
from ecommerce_pipeline.dbt_runner import results, runner
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import warehouse

if TYPE_CHECKING:
    from dbt.cli.main import dbtRunnerResult

Row = Mapping[str, object]

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)

_DEFAULTS = {ColumnType.INTEGER: 0, ColumnType.TEXT: "", ColumnType.TIMESTAMP: NOON}


class Shop:
    """A run's warehouse: the raw schema as loading leaves it, and what dbt makes of it."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run

    def create(self) -> None:
        """Start with empty raw tables, without the constraints that loading gives them."""
        self.run.path.mkdir(parents=True, exist_ok=True)
        self.run.warehouse.unlink(missing_ok=True)
        with duckdb.connect(self.run.warehouse) as connection:
            connection.execute("CREATE SCHEMA raw")
            for table in TABLES:
                columns = ", ".join(f"{c.name} {c.type.duckdb}" for c in table.columns)
                connection.execute(f"CREATE TABLE raw.{table.name} ({columns})")
                key = ", ".join(
                    f"{c.name} {c.type.duckdb}" for c in table.columns if c.name in table.key
                )
                connection.execute(f"CREATE TABLE raw.deleted_{table.name} ({key})")
            connection.execute(
                "CREATE TABLE raw.loaded_intervals (table_name VARCHAR,"
                " interval_start TIMESTAMPTZ, interval_end TIMESTAMPTZ, row_count BIGINT)"
            )

    def context(self, interval: str = "2025-01-01") -> StepContext:
        """The arguments of a step for an interval."""
        return StepContext(self.run, DataInterval.parse(interval), source_url="sqlite://")

    def load(self, table: str, *rows: Row) -> None:
        """Put rows into a raw table, each in the place of the row with its key.

        A column that a row leaves out is NULL where it may be, else 0, empty, or noon of
        2025-01-01.
        """
        contract = TABLE_BY_NAME[table]
        columns = ", ".join(contract.column_names)
        with warehouse.connect(self.run.warehouse) as connection:
            for row in rows:
                whole = _whole(contract, row)
                same_key = " AND ".join(f"{name} = ?" for name in contract.key)
                key = [whole[name] for name in contract.key]
                connection.execute(f"DELETE FROM raw.{table} WHERE {same_key}", key)
                marks = ", ".join("?" for _ in whole)
                connection.execute(
                    f"INSERT INTO raw.{table} ({columns}) VALUES ({marks})", [*whole.values()]
                )

    def loaded(self, interval: str = "2025-01-01", *, customers: tuple[int, ...] = ()) -> None:
        """Note an interval as loaded, with the customers that the source had then."""
        span = DataInterval.parse(interval)
        with warehouse.connect(self.run.warehouse) as connection:
            for table in TABLES:
                connection.execute(
                    "INSERT INTO raw.loaded_intervals VALUES (?, ?, ?, 0)",
                    [table.name, span.start, span.end],
                )
            connection.execute("DELETE FROM raw.deleted_customers")
            connection.execute(
                "INSERT INTO raw.deleted_customers"
                " SELECT id FROM raw.customers WHERE NOT list_contains(?::BIGINT[], id)",
                [list(customers)],
            )

    def build(self, interval: str = "2025-01-01") -> StepResult:
        """Take the snapshot and build the marts on the staging views; the result is the marts'."""
        steps.resolve("dbt_snapshot")(self.context(interval))
        return steps.resolve("dbt_run_marts")(self.context(interval))

    def execute(self, statement: str) -> None:
        """Execute one statement."""
        with warehouse.connect(self.run.warehouse) as connection:
            connection.execute(statement)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows that a statement gives."""
        with warehouse.connect(self.run.warehouse, read_only=True) as connection:
            return connection.execute(statement).fetchall()

    def dbt(self, *command: str) -> dbtRunnerResult:
        """Run dbt on the shop's warehouse."""
        context = self.context()
        return runner.invoke(
            command,
            folder=self.run.path.resolve(),
            target=self.run.dbt_target,
            logs=results.dbt_log(context).parent,
        )

    def log(self, interval: str = "2025-01-01") -> str:
        """dbt's log of an interval."""
        return results.dbt_log(self.context(interval)).read_text()


def _whole(table: Table, row: Row) -> dict[str, object]:
    return {
        c.name: row.get(c.name, None if c.nullable else _DEFAULTS[c.type]) for c in table.columns
    }
