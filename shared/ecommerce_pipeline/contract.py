"""The source contract: the five tables that the pipeline reads, their columns, types and keys."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # an orchestrator's parser reads this module often: it stays light
    import pyarrow as pa


class ColumnType(Enum):
    """A column's type. Money is integer cents, rates are basis points, times are UTC."""

    INTEGER = "integer"
    TEXT = "text"
    TIMESTAMP = "timestamp"

    @property
    def arrow(self) -> pa.DataType:
        """The type in Parquet: int64, string, or timestamp[us, UTC]."""
        import pyarrow as pa

        return {
            ColumnType.INTEGER: pa.int64(),
            ColumnType.TEXT: pa.string(),
            ColumnType.TIMESTAMP: pa.timestamp("us", tz="UTC"),
        }[self]

    @property
    def duckdb(self) -> str:
        """The type in the warehouse's raw schema."""
        return {
            ColumnType.INTEGER: "BIGINT",
            ColumnType.TEXT: "VARCHAR",
            ColumnType.TIMESTAMP: "TIMESTAMPTZ",
        }[self]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a source table."""

    name: str
    type: ColumnType
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """One source table; ``key`` names the columns that identify a row."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns' names in order."""
        return tuple(column.name for column in self.columns)

    @property
    def arrow_schema(self) -> pa.Schema:
        """The exact schema of the table's Parquet files."""
        import pyarrow as pa

        return pa.schema(
            [pa.field(c.name, c.type.arrow, nullable=c.nullable) for c in self.columns]
        )


def _integer(name: str, *, nullable: bool = False) -> Column:
    return Column(name, ColumnType.INTEGER, nullable)


def _text(name: str, *, nullable: bool = False) -> Column:
    return Column(name, ColumnType.TEXT, nullable)


def _timestamp(name: str) -> Column:
    return Column(name, ColumnType.TIMESTAMP)


CUSTOMERS = Table(
    "customers",
    ("id",),
    (
        _integer("id"),
        _text("email", nullable=True),
        _text("name", nullable=True),
        _text("country", nullable=True),
        _timestamp("created_at"),
        _timestamp("updated_at"),
    ),
)
PRODUCTS = Table(
    "products",
    ("id",),
    (
        _integer("id"),
        _text("sku"),
        _text("name", nullable=True),
        _text("category", nullable=True),
        _integer("price_cents"),
        _timestamp("created_at"),
        _timestamp("updated_at"),
    ),
)
ORDERS = Table(
    "orders",
    ("id",),
    (
        _integer("id"),
        _integer("user_id"),
        _text("status"),
        _integer("subtotal_cents"),
        _integer("tax_rate_bp"),
        _integer("total_cents"),
        _timestamp("created_at"),
        _timestamp("updated_at"),
    ),
)
ORDER_ITEMS = Table(
    "order_items",
    ("id",),
    (
        _integer("id"),
        _integer("order_id"),
        _integer("product_id"),
        _integer("quantity"),
        _integer("unit_price_cents"),
        _integer("discount_cents"),
        _timestamp("updated_at"),
    ),
)
PAGE_VIEWS = Table(
    "page_views",
    ("session_id", "page_url", "viewed_at"),
    (
        _text("session_id"),
        _integer("user_id", nullable=True),
        _text("page_url"),
        _text("referrer_url", nullable=True),
        _integer("duration_seconds", nullable=True),
        _timestamp("viewed_at"),
        _timestamp("updated_at"),
    ),
)

TABLES = (CUSTOMERS, PRODUCTS, ORDERS, ORDER_ITEMS, PAGE_VIEWS)
TABLE_BY_NAME = {table.name: table for table in TABLES}

ORDER_STATUSES = ("pending", "processing", "shipped", "delivered", "cancelled", "test")
