"""The output for people: a line for each sample, and the results as tables."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

from rich.console import Console

from ecommerce_pipeline.reporting import formatting
from pipeline_verification.harness.text_table import text_table

Row = tuple[str, ...]
UNLIMITED_WIDTH = 1000


def say(line: str) -> None:
    """Print one line at once."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 (the command's own output)


def tables(results: Mapping[str, Any]) -> Iterator[str]:
    """The lines of one table for each case.

    A table has a row for each variant: the main metric's median, its range and its ratio to the
    control, then the medians of the other metrics.
    """
    for name, case in results["cases"].items():
        yield f"{results['benchmark']} {name}: {case['description']}"
        rows = [_row(variant, values, case) for variant, values in case["variants"].items()]
        yield from table_lines(*_without_empty(_header(case), rows))
        yield ""


def _without_empty(titles: Row, rows: Sequence[Row]) -> tuple[Row, list[Row]]:
    """The table without columns that are empty in every row, such as ratios that no metric has."""
    filled = [not titles[i] or any(row[i] for row in rows) for i in range(len(titles))]
    titles, *rows = (tuple(compress(row, filled)) for row in (titles, *rows))
    return titles, list(rows)


def table_lines(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table as lines of text, as wide as its cells are."""
    # Without a terminal rich assumes 80 columns and would cut longer cells; markup would take a
    # unit in brackets for a style.
    console = Console(file=io.StringIO(), width=UNLIMITED_WIDTH, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(text_table(titles, rows))
    yield from (line.rstrip() for line in captured.get().splitlines())


def _header(case: Mapping[str, Any]) -> Row:
    titles = [_title(**metric) for metric in case["metrics"].values()]
    return ("", titles[0], "ratio", *titles[1:], "failed")


def _title(unit: str, title: str) -> str:
    return title if formatting.says_its_unit(title, unit) else f"{title} ({unit})"


def _row(name: str, variant: Mapping[str, Any], case: Mapping[str, Any]) -> Row:
    summary, (main, *others) = variant["summary"], case["metrics"]
    failures = sum(sample["failure"] is not None for sample in variant["samples"])
    failed = f"{failures} of {len(variant['samples'])}" if failures else ""
    first = summary.get(main)
    if first is None:
        return (name, *[""] * (len(others) + 2), failed)
    spread = f"{_number(first['median'])} ({_number(first['min'])} to {_number(first['max'])})"
    ratio = f"{first['ratio']['median']:.2f}" if first["ratio"] else ""
    return (name, spread, ratio, *(_median(summary.get(other)) for other in others), failed)


def _median(summary: Mapping[str, Any] | None) -> str:
    return "" if summary is None else _number(summary["median"])


def _number(value: float) -> str:
    return f"{value:,.2f}" if value % 1 else f"{value:,.0f}"
