"""The customers: one for each household, from its first basket on."""

from __future__ import annotations

from datetime import date
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ecommerce_pipeline.contract import CUSTOMERS
from ecommerce_pipeline.datasets.complete_journey import lines, package
from ecommerce_pipeline.datasets.rows import Int64Array, arrow_table, day_slice

COUNTRY = "US"


def rows_of(day: date) -> pa.Table:
    """The households whose first basket is of the day."""
    first_sold_at, household_ids = _first_baskets()
    today = day_slice(first_sold_at, day)
    ids = pa.array(household_ids[today])
    described = _described(ids)
    return arrow_table(
        CUSTOMERS,
        {
            "id": ids,
            "email": _email(described),
            "name": _name(ids, described),
            "country": pa.repeat(COUNTRY, len(ids)),
            "created_at": first_sold_at[today],
            "updated_at": first_sold_at[today],
        },
    )


def _described(ids: pa.Array) -> pa.Table:
    """The demographics of each household, all NULL where the package has none."""
    demographics = _demographics()
    return demographics.take(pc.index_in(ids, value_set=demographics["household_id"]))


def _email(described: pa.Table) -> pa.ChunkedArray:
    """Made up for the households that the package describes; NULL for the others."""
    ids = described["household_id"].cast(pa.string())
    return pc.binary_join_element_wise("household-", ids, "@example.com", "")


def _name(ids: pa.Array, described: pa.Table) -> pa.ChunkedArray:
    """Such as ``Household 1, 65+, 2 Adults No Kids``; only the number where nothing is known."""
    number = pc.binary_join_element_wise("Household", ids.cast(pa.string()), " ")
    age, composition = described["age"], described["household_comp"]
    return pc.coalesce(pc.binary_join_element_wise(number, age, composition, ", "), number)


@cache
def _first_baskets() -> tuple[Int64Array, Int64Array]:
    """When each household first bought, in microseconds since 1970, and its id; by that time."""
    sold = lines.load()
    ids, first_line = np.unique(sold.household_id, return_index=True)
    order = np.argsort(first_line)
    return sold.sold_at[first_line[order]], ids[order]


@cache
def _demographics() -> pa.Table:
    return package.read("demographics", ["household_id", "age", "household_comp"])
