"""The text of an error is one line that any terminal shows as it is."""

from __future__ import annotations

import pytest

from ecommerce_pipeline.errors import PipelineError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a\nb\t c", "a b c"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("\u202ereversed", "\\u202ereversed"),
        ("\udcff", "\\udcff"),
        ("Zoë ☕ 🚀", "Zoë ☕ 🚀"),
    ],
)
def test_an_error_is_one_line_of_printable_characters(value: str, shown: str) -> None:
    """White space is one blank; what a terminal would act on or hide is written as its code."""
    assert str(PipelineError(f"found {value}", "fix it")) == f"found {shown}; fix it"
