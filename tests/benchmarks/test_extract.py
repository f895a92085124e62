"""The extraction benchmark's plan, and what it derives."""

from __future__ import annotations

from definitions import extract

SERVER = extract.ShopServer("postgresql://nowhere", "psql")


def test_ratio_to_floor() -> None:
    """The ratio is one of rates: twice the floor's seconds are half its rate."""
    derived = extract.ratio_to_floor({"orders": {"seconds": 4.0}}, {"orders": {"seconds": 2.0}})
    assert derived == {"orders": {"ratio_to_floor": 0.5}}


def test_ratio_without_the_floor() -> None:
    """A round in which the floor failed has no ratio."""
    assert extract.ratio_to_floor({"orders": {"seconds": 4.0}}, {}) == {}


def test_memory_is_measured_after_the_rounds() -> None:
    """The orders of the memory case replace those of the rounds, so that it comes after them."""
    plan = extract.plan(SERVER, quick=False)
    assert [list(group.cases) for group in plan.groups] == [["orders"]]
    assert [(list(group.cases), group.variants) for group in plan.once] == [(["memory"], ("ours",))]
    assert not extract.plan(SERVER, quick=True).once


def test_exactness() -> None:
    """Changed types and changed values are distinguished, each with its note."""
    note = "user_id is double"
    assert extract.exactness({"types": True, "values": True, "note": ""}) == (
        "types and values as in the source"
    )
    assert extract.exactness({"types": False, "values": True, "note": note}) == (
        f"values only: {note}"
    )
    assert extract.exactness({"types": False, "values": False, "note": note}) == f"differs: {note}"
