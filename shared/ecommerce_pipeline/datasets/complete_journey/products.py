"""The products: when each arrived and what it cost, derived from what was sold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecommerce_pipeline.contract import PRODUCTS
from ecommerce_pipeline.datasets.complete_journey import lines, package
from ecommerce_pipeline.datasets.rows import (
    DAY_MICROSECONDS,
    Int64Array,
    arrow_table,
    day_slice,
    midnight_of,
)

_COLUMNS = ["product_id", "manufacturer_id", "product_category", "product_type", "package_size"]


@dataclass(frozen=True, slots=True)
class _Products:
    """The catalogue, and all versions of its products in order of their time.

    Attributes:
        catalogue: the package's columns, in order of the product's id.
        created_at: when each product of the catalogue arrived, in microseconds since 1970.
        updated_at: when each version began, at most one a day of a product.
        place: the version's product, by its place in the catalogue.
        price_cents: the version's price.
    """

    catalogue: pa.Table
    created_at: Int64Array
    updated_at: Int64Array
    place: Int64Array
    price_cents: Int64Array


def rows_of(day: date) -> pa.Table:
    """The products that arrive or change their price on the day."""
    products = _load()
    today = day_slice(products.updated_at, day)
    place = products.place[today]
    found = products.catalogue.take(pa.array(place))
    return arrow_table(
        PRODUCTS,
        {
            "id": found["product_id"],
            "sku": _sku(found),
            "name": _name(found),
            "category": found["product_category"],
            "price_cents": products.price_cents[today],
            "created_at": products.created_at[place],
            "updated_at": products.updated_at[today],
        },
    )


def _sku(found: pa.Table) -> pa.ChunkedArray:
    """The manufacturer's id and the product's, such as ``69-26190``."""
    texts = (found[name].cast(pa.string()) for name in ("manufacturer_id", "product_id"))
    return pc.binary_join_element_wise(*texts, "-")


def _name(found: pa.Table) -> pa.ChunkedArray:
    """Type and package size, such as ``APPLE SAUCE 50 OZ``; NULL where the type is."""
    sized = pc.binary_join_element_wise(found["product_type"], found["package_size"], " ")
    return pc.coalesce(sized, found["product_type"])


@cache
def _load() -> _Products:
    catalogue = package.read("products", _COLUMNS).sort_by("product_id")
    ids = catalogue["product_id"].to_numpy()
    sold = lines.load()
    place = np.minimum(np.searchsorted(ids, sold.product_id), len(ids) - 1)
    is_known = ids[place] == sold.product_id
    created_at = _arrivals(len(ids), place[is_known], sold.sold_at[is_known])
    has_price = is_known & (sold.quantity > 0)
    return _Products(
        catalogue,
        created_at,
        *_versions(
            # Each product arrives with no price known; its sales follow.
            np.concatenate([np.arange(len(ids)), place[has_price]]),
            np.concatenate([created_at, sold.sold_at[has_price]]),
            np.concatenate([np.zeros_like(ids), sold.unit_price_cents[has_price]]),
        ),
    )


def _arrivals(count: int, place: Int64Array, sold_at: Int64Array) -> Int64Array:
    """When each product was first sold; the start of the first day where it never was."""
    arrivals = np.full(count, midnight_of(lines.FIRST_DAY))
    sold, first_line = np.unique(place, return_index=True)
    arrivals[sold] = sold_at[first_line]
    return arrivals


def _versions(
    place: Int64Array, moment: Int64Array, price: Int64Array
) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Keep each product's last price of a day where it differs from the one before, by moment."""
    order = np.lexsort((moment, place))
    place, moment, price = place[order], moment[order], price[order]
    product_and_day = np.stack([place, moment // DAY_MICROSECONDS])
    is_last = np.append((product_and_day[:, 1:] != product_and_day[:, :-1]).any(axis=0), True)
    place, moment, price = place[is_last], moment[is_last], price[is_last]
    differs = (place[1:] != place[:-1]) | (price[1:] != price[:-1])
    kept = np.flatnonzero(np.append(True, differs))
    kept = kept[np.argsort(moment[kept], kind="stable")]
    return moment[kept], place[kept], price[kept]
