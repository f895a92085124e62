"""Tables in Markdown, and in HTML where they scroll within themselves, also by keyboard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = False) -> str:
    """A table in Markdown, for READMEs; ``numbers`` after the first column stand to the right."""
    others = ["---:" if numbers else "---"] * (len(header) - 1)
    lines = [header, ["---", *others], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; the first cell of each row is its heading.

    Args:
        title: its accessible name.
        header: the columns' headings, as text.
        rows: cells, as HTML.
    """
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}">'
        f'<table class="data"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )
