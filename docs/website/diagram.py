"""The diagram of the pipeline as inline SVG: steps in the middle, variants at the sides."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ecommerce_pipeline.reporting.formatting import TIMES
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEPS

WIDTH, MIDDLE, SIDE = 380, 176, 84
ROW, TOP = 24, 62
LEFT = (WIDTH - MIDDLE) / 2


def diagram(variants: Sequence[str]) -> str:
    """The diagram as HTML.

    Args:
        variants: their titles; the first is shown at the left, the second at the right, and so on.
    """
    steps = list(_step_labels())
    bottom = TOP + len(steps) * ROW + 12
    boxes = "".join(
        _box(LEFT + 8, TOP + place * ROW, MIDDLE - 16, ROW - 5, label, "step")
        for place, label in enumerate(steps)
    )
    return (
        f'<div class="diagram"><svg role="img" viewBox="0 0 {WIDTH} {bottom + 54}"'
        f' aria-label="{escape(_text_alternative(variants))}">'
        + _box(LEFT + 8, 4, MIDDLE - 16, 30, "source database", "place")
        + _arrow(34, TOP - 8)
        + f'<rect class="frame" x="{LEFT}" y="{TOP - 8}" width="{MIDDLE}"'
        f' height="{bottom - TOP + 8}" rx="8"/>'
        + boxes
        + _arrow(bottom, bottom + 20)
        + _box(LEFT + 8, bottom + 20, MIDDLE - 16, 30, "published copy, dashboard", "place")
        + "".join(_variants(variants, TOP - 8, bottom))
        + "</svg></div>"
    )


def _step_labels() -> list[str]:
    """The steps' names; the five extract steps, which run in parallel, share one box."""
    extract = f"extract_<table> {TIMES} {len(EXTRACT_STEPS)}"
    names = [extract if step.name in EXTRACT_STEPS else step.name for step in STEPS]
    return list(dict.fromkeys(names))


def _text_alternative(variants: Sequence[str]) -> str:
    steps = ", ".join(_step_labels())
    names = ", ".join(variants)
    return f"From the source database through {steps} to the dashboard, run by {names}"


def _variants(variants: Sequence[str], top: float, bottom: float) -> list[str]:
    """Boxes for the variants, in turn left and right, evenly over the height."""
    drawn = []
    for side, names in enumerate((variants[::2], variants[1::2])):
        x = side * (WIDTH - SIDE)
        near, far = (SIDE, LEFT) if side == 0 else (x, WIDTH - LEFT)
        for place, name in enumerate(names):
            middle = top + (bottom - top) * (place + 0.5) / len(names)
            drawn.append(_box(x, middle - 20, SIDE, 40, name, "variant"))
            drawn.append(f'<line class="wire" x1="{near}" y1="{middle}" x2="{far}" y2="{middle}"/>')
    return drawn


def _box(  # noqa: PLR0917
    x: float, y: float, width: float, height: float, label: str, kind: str
) -> str:
    words = label.split(" ") if kind == "variant" else [label]
    first = y + height / 2 - 7 * (len(words) - 1)
    lines = "".join(
        f'<text x="{x + width / 2}" y="{first + 14 * n}">{escape(w)}</text>'
        for n, w in enumerate(words)
    )
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
        f"{lines}</g>"
    )


def _arrow(top: float, bottom: float) -> str:
    x = WIDTH / 2
    head = f"{x - 4},{bottom - 6} {x + 4},{bottom - 6} {x},{bottom}"
    return (
        f'<line class="wire" x1="{x}" y1="{top}" x2="{x}" y2="{bottom - 6}"/>'
        f'<polygon class="head" points="{head}"/>'
    )
