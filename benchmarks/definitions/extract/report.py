"""The benchmark's results as a table for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HEADER = ("", "1000 rows/s", "ratio", "seconds (min to max)", "CPU s", "peak MB", "exact")


def lines(results: Mapping[str, Any]) -> Iterator[str]:
    """One aligned line for each method, fastest first, after the header."""
    measured = sorted(results["methods"].items(), key=_seconds)
    rows = [_HEADER, *(_row(name, method, results["rows"]) for name, method in measured)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join((name.ljust(widths[0]), *cells)).rstrip()
    yield f"ratio: rate against {results['floor']} in the same round, of {results['repeats']}"
    if memory := results["memory"]:
        outcome = memory["failure"] or f"peak {memory['peak_megabytes']:,} MB"
        yield f"{memory['method']} with {memory['rows']:,} rows: {outcome}"


def _seconds(item: tuple[str, Mapping[str, Any]]) -> float:
    seconds = item[1]["seconds"]
    return seconds["median"] if seconds else float("inf")


def _row(name: str, method: Mapping[str, Any], rows: int) -> tuple[str, ...]:
    if method["seconds"] is None:
        return (name, "failed", *[""] * (len(_HEADER) - 2))
    seconds = method["seconds"]
    return (
        name,
        f"{rows / seconds['median'] / 1000:,.0f}",
        f"{method['ratio_to_floor']['median']:.2f}",
        f"{seconds['median']:.2f} ({seconds['min']:.2f} to {seconds['max']:.2f})",
        f"{method['cpu_seconds']['median']:.1f}",
        f"{method['peak_megabytes']['max']:,.0f}" if method["peak_megabytes"] else "",
        _exactness(method["exact"]),
    )


def _exactness(exact: Mapping[str, Any] | None) -> str:
    if exact is None:
        return ""
    if exact["types"] and exact["values"]:
        return "yes"
    return f"{'values only' if exact['values'] else 'no'}: {exact['note']}"
