"""The notifications' content, as Slack Block Kit within Slack's limits."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.reporting import formatting
from ecommerce_pipeline.reporting.totals import Totals
from ecommerce_pipeline.storage.published import Manifest

# Slack refuses a whole message of which one text is longer; in characters, after escaping.
HEADER_LIMIT = 150
FIELD_LIMIT = 2000
SECTION_LIMIT = 3000
# Greedy up to the last @, since a password may contain one.
_PASSWORD_IN_URL = re.compile(r"(\w+://[^\s:/@]*):\S+@")


@dataclass(frozen=True, slots=True)
class Message:
    """One notification.

    Attributes:
        id: made from interval, kind and step, so that readers recognise a repeated notification.
        interval: the data interval.
        kind: ``success`` or ``failure``.
        step: the step that failed; None for a success.
        text: what Slack shows where it shows no blocks.
        blocks: the Block Kit blocks.
    """

    id: str
    interval: str
    kind: str
    step: str | None
    text: str
    blocks: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What is known about the run; None where it could not be read.

    Attributes:
        manifest: what readers see now.
        totals: the published totals.
        elapsed_seconds: how long the run took so far.
        slowest: the longest step and its seconds.
        warnings: what the steps warn of.
    """

    manifest: Manifest | None = None
    totals: Totals | None = None
    elapsed_seconds: float | None = None
    slowest: tuple[str, float] | None = None
    warnings: Sequence[str] = ()


def success(context: StepContext, summary: RunSummary) -> Message:
    """Say what was published and where the dashboard is."""
    fields = {"Interval": formatting.interval(context.interval)}
    if summary.totals is not None:
        fields["Revenue"] = formatting.money(summary.totals.revenue)
        fields["Orders"] = f"{summary.totals.orders:,}"
        fields["Customers"] = f"{summary.totals.customers:,}"
    if summary.manifest is not None:
        fields["Rows published"] = f"{sum(t.rows for t in summary.manifest.tables.values()):,}"
    fields |= _durations(summary)
    return _message(
        context,
        step=None,
        title=f"✅ Pipeline succeeded: {formatting.interval(context.interval)}",
        fields=fields,
        body=_warnings(context, summary),
        footer=f"Dashboard: {context.run.dashboard}",
    )


def failure(context: StepContext, step: str, reason: str, summary: RunSummary) -> Message:
    """Say which step failed and why, what readers still see, and where the log is."""
    seen = "nothing yet" if summary.manifest is None else _through(summary.manifest)
    # The reason is shown in a code block, which three backquotes would end.
    reason = _without_secrets(reason, context).replace("```", "'''")
    return _message(
        context,
        step=step,
        title=f"❌ Pipeline failed: {formatting.interval(context.interval)}",
        fields={
            "Interval": formatting.interval(context.interval),
            "Step": step,
            "Readers see": seen,
            **_durations(summary),
        },
        body=[
            SectionBlock(text=_markdown(reason, SECTION_LIMIT, around="```")),
            *_warnings(context, summary),
        ],
        footer=f"Log: {context.run.step_log(step, context.interval)}",
    )


def escape(text: str, limit: int) -> str:
    """Escape Slack's control characters and shorten to the limit, never inside an escape.

    Characters that hide or reorder others are shown as their code.
    """
    escaped = html.escape(formatting.visible(text), quote=False)
    if len(escaped) <= limit:
        return escaped
    return re.sub(r"&[a-z]*$", "", escaped[: limit - 1]) + "…"


def _message(
    context: StepContext,
    *,
    step: str | None,
    title: str,
    fields: Mapping[str, str],
    body: Sequence[Block],
    footer: str,
) -> Message:
    kind = "success" if step is None else "failure"
    blocks: list[Block] = [
        HeaderBlock(text=PlainTextObject(text=escape(title, HEADER_LIMIT))),
        SectionBlock(fields=[_field(name, value) for name, value in fields.items()]),
        *body,
        ContextBlock(elements=[_markdown(footer, FIELD_LIMIT)]),
    ]
    return Message(
        id="/".join([context.interval.label, kind, *([step] if step else [])]),
        interval=str(context.interval),
        kind=kind,
        step=step,
        text=escape(f"{title} ({step})" if step else title, SECTION_LIMIT),
        blocks=[block.to_dict() for block in blocks],
    )


def _field(name: str, value: str) -> MarkdownTextObject:
    return MarkdownTextObject(text=f"*{name}*\n{escape(value, FIELD_LIMIT - len(name) - 3)}")


def _markdown(text: str, limit: int, around: str = "") -> MarkdownTextObject:
    room = limit - 2 * len(around)
    return MarkdownTextObject(text=f"{around}{escape(text, room)}{around}", verbatim=True)


def _durations(summary: RunSummary) -> dict[str, str]:
    fields = {}
    if summary.elapsed_seconds is not None:
        fields["Duration"] = formatting.duration(summary.elapsed_seconds)
    if summary.slowest is not None:
        step, seconds = summary.slowest
        fields["Slowest step"] = f"{step}, {formatting.duration(seconds)}"
    return fields


def _warnings(context: StepContext, summary: RunSummary) -> list[Block]:
    if not summary.warnings:
        return []
    text = "\n".join(f"⚠️ {_without_secrets(warning, context)}" for warning in summary.warnings)
    return [SectionBlock(text=_markdown(text, SECTION_LIMIT))]


def _through(manifest: Manifest) -> str:
    return f"data through {formatting.interval(manifest.newest_interval)}"


def _without_secrets(text: str, context: StepContext) -> str:
    """Hide the webhook and any password in a URL, which a library's message may contain."""
    if context.slack_webhook_url:
        text = text.replace(context.slack_webhook_url, "***")
    return _PASSWORD_IN_URL.sub(r"\1:***@", text)
