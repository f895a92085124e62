"""Bar charts as inline SVG.

Positions are in percent and font sizes in pixels, so that a chart can be read on a phone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from ecommerce_pipeline.reporting.formatting import ratio, spread
from website.results import Measured

ROW = 40
BAR = 12


def bars(title: str, unit: str, rows: Sequence[tuple[str, Measured]]) -> str:
    """A bar from zero to each median, with a line from the minimum to the maximum sample.

    Args:
        title: what is measured; the caption, and the beginning of the text alternative.
        unit: of the numbers.
        rows: for each bar its label and its numbers; without numbers the row has no bar.
    """
    # 1 where every number is 0, or there is none: a width is a share of it.
    longest = max((m.summary["max"] for _, m in rows if m.summary), default=0) or 1
    values = "; ".join(f"{label} {_value(measured, unit)}" for label, measured in rows)
    drawn = "".join(
        _row(index * ROW, label, measured, unit, longest)
        for index, (label, measured) in enumerate(rows)
    )
    return (
        f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
        f'<svg role="img" aria-label="{escape(f"{title}: {values}")}" width="100%"'
        f' height="{len(rows) * ROW}">{drawn}</svg></figure>'
    )


def _row(top: float, label: str, measured: Measured, unit: str, longest: float) -> str:
    words = (
        f'<text y="{top + 16}"><tspan class="label">{escape(label)}</tspan>'
        f' <tspan dx="6">{escape(_value(measured, unit))}</tspan></text>'
    )
    return words if measured.summary is None else words + _bar(top + 22, measured.summary, longest)


def _bar(top: float, summary: Mapping[str, Any], longest: float) -> str:
    median, low, high = (100 * summary[k] / longest for k in ("median", "min", "max"))
    middle = top + BAR / 2
    return (
        f'<rect class="bar" y="{top}" width="{median:.2f}%" height="{BAR}" rx="2"/>'
        f'<line class="range" x1="{low:.2f}%" x2="{high:.2f}%" y1="{middle}" y2="{middle}"/>'
    )


def _value(measured: Measured, unit: str) -> str:
    if measured.summary is None:
        return "no number"
    return f"{spread(measured.summary, unit)} {ratio(measured.summary)}".rstrip()
