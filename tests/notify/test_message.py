"""The notifications' words keep within Slack's limits, whatever they are made from."""

from __future__ import annotations

import html
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.reporting import slack_message
from ecommerce_pipeline.reporting.slack_message import RunSummary
from ecommerce_pipeline.run_directory import RunDirectory
from support.small_warehouse import INTERVAL


@given(text=st.text("&<>;amplgt é\n", max_size=60), limit=st.integers(2, 60))
def test_escaping_never_cuts_an_escape(text: str, limit: int) -> None:
    """Escaped text fits the limit and unescapes to the text or to a beginning of it."""
    escaped = slack_message.escape(text, limit)
    assert len(escaped) <= limit
    assert not set("<>") & set(escaped)
    back = html.unescape(escaped)
    assert back == text or (back.endswith("…") and text.startswith(back[:-1]))


@given(step=st.text(max_size=3000), reason=st.text(max_size=5000), folder=st.integers(1, 200))
def test_every_part_fits_slack(step: str, reason: str, folder: int) -> None:
    """Header, fields and sections stay within what Slack accepts."""
    run = RunDirectory(Path("/", *["<&>" * 20] * folder))
    context = StepContext(run, INTERVAL, "sqlite://")
    made = slack_message.failure(context, step, reason, RunSummary())
    header, section, body, footer = made.blocks
    assert len(header["text"]["text"]) <= 150
    assert len(section["fields"]) <= 10
    assert all(len(field["text"]) <= 2000 for field in section["fields"])
    assert len(body["text"]["text"]) <= 3000
    assert body["text"]["text"].endswith("```")
    assert len(footer["elements"][0]["text"]) <= 2000


def test_no_text_reorders_or_hides_the_message() -> None:
    """Direction overrides and control characters are shown as codes; lines stay lines."""
    context = StepContext(RunDirectory(Path("/shop/\u202erun")), INTERVAL, "sqlite://")
    made = slack_message.failure(context, "publish", "bad\nname \u202eevil\x1b[0m", RunSummary())
    _, _, body, footer = made.blocks
    assert body["text"]["text"] == "```bad\nname [U+202E]evil[U+001B][0m```"
    assert "/shop/[U+202E]run/" in footer["elements"][0]["text"]
