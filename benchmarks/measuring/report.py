"""What a person sees: a line for each sample, and the results as tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ecommerce_pipeline.reporting import formatting


def say(line: str) -> None:
    """Print one line at once."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 (the command's own output)


def table(results: Mapping[str, Any]) -> Iterator[str]:
    """One table for each case: a line for each variant, the headline with its spread and ratio."""
    for name, case in results["cases"].items():
        yield f"{results['verb']} {name}: {case['description']}"
        yield from aligned([_header(case), *map(_row, _variants(case))])
        yield ""


def aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The rows with their columns one below the other, the first one to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        numbers = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join((name.ljust(widths[0]), *numbers)).rstrip()


def _variants(case: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Sequence[str]]]:
    for name, variant in case["variants"].items():
        yield name, variant, tuple(case["metrics"])


def _header(case: Mapping[str, Any]) -> tuple[str, ...]:
    titles = [_title(**metric) for metric in case["metrics"].values()]
    return ("", titles[0], "ratio", *titles[1:], "failed")


def _title(unit: str, title: str) -> str:
    return title if formatting.says_its_unit(title, unit) else f"{title} ({unit})"


def _row(told: tuple[str, Mapping[str, Any], Sequence[str]]) -> tuple[str, ...]:
    name, variant, metrics = told
    summary, (headline, *others) = variant["summary"], metrics
    failed = sum(sample["failure"] is not None for sample in variant["samples"])
    of = f"{failed} of {len(variant['samples'])}" if failed else ""
    first = summary.get(headline)
    if first is None:
        return (name, *[""] * (len(metrics) + 1), of)
    spread = f"{_number(first['median'])} ({_number(first['min'])} to {_number(first['max'])})"
    ratio = f"{first['ratio']['median']:.2f}" if first["ratio"] else ""
    return (name, spread, ratio, *(_median(summary.get(other)) for other in others), of)


def _median(summary: Mapping[str, Any] | None) -> str:
    return "" if summary is None else _number(summary["median"])


def _number(value: float) -> str:
    return f"{value:,.2f}" if value % 1 else f"{value:,.0f}"
