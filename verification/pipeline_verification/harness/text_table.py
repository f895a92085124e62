"""Tables for a terminal: columns under their titles, without rules or colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table


def text_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """A table whose first ``left`` columns are aligned to the left, the others to the right.

    Args:
        titles: one for each column.
        rows: a row may be shorter than the titles; its last cells are then empty.
        left: how many columns are aligned to the left.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, title in enumerate(titles):
        table.add_column(title, justify="left" if number < left else "right")
    for row in rows:
        table.add_row(*row)
    return table
