"""A badge with the number of scenarios that a variant passed: SVG without external references."""

from __future__ import annotations

from html import escape

_LETTER_WIDTH = 7
_PADDING = 7
_HEIGHT = 20
_LABEL, _ALL, _SOME = "#3d444d", "#1a7f37", "#cf222e"
_SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" \
aria-label="{text}">
<title>{text}</title>
<clipPath id="round"><rect width="{width}" height="{height}" rx="3"/></clipPath>
<g clip-path="url(#round)">
<rect width="{left}" height="{height}" fill="{label_colour}"/>
<rect x="{left}" width="{right}" height="{height}" fill="{colour}"/>
</g>
<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">
<text x="{left_middle}" y="14">{label}</text>
<text x="{right_middle}" y="14">{value}</text>
</g>
</svg>
"""


def badge(variant: str, value: str) -> str:
    """The badge as SVG: green when all passed, else red.

    Args:
        variant: the variant's name.
        value: passed scenarios and all scenarios, such as ``6/6``.
    """
    label = f"{variant} conformance"
    passed, _, total = value.partition("/")
    left, right = (len(text) * _LETTER_WIDTH + 2 * _PADDING for text in (label, value))
    return _SVG.format(
        text=escape(f"{label}: {value} scenarios"),
        label=escape(label),
        value=escape(value),
        label_colour=_LABEL,
        colour=_ALL if passed == total else _SOME,
        width=left + right,
        height=_HEIGHT,
        left=left,
        right=right,
        left_middle=left / 2,
        right_middle=left + right / 2,
    )
