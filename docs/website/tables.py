"""Tables in Markdown for READMEs, and in HTML that scrolls sideways, also by keyboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A table in Markdown; with ``numbers``, all columns after the first are right-aligned."""
    others = ["---:" if numbers else "---"] * (len(header) - 1)
    lines = [header, ["---", *others], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in HTML; the first cell of each row is its heading.

    Args:
        title: the table's accessible name.
        header: the columns' headings, as text.
        rows: cells, as HTML.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    # ``tabindex``: without it the keyboard cannot scroll the box in every browser.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'<table class="data"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
