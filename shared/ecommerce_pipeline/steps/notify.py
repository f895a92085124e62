"""Notifications of how a run went: Slack Block Kit by webhook, or a line in a file without one.

No failure in here fails the data: it becomes the result's ``warning``, and the message goes to
the file instead. An interval that runs again notifies again, under the same ``id``.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from slack_sdk.http_retry import (
    ConnectionErrorRetryHandler,
    FixedValueRetryIntervalCalculator,
    HttpRequest,
    HttpResponse,
    RateLimitErrorRetryHandler,
    RetryHandler,
    RetryState,
)
from slack_sdk.webhook import WebhookClient

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.files import json_lines
from ecommerce_pipeline.files.crash_points import crash_point
from ecommerce_pipeline.reporting import slack_message, totals
from ecommerce_pipeline.reporting.slack_message import Message, RunSummary
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.published import open_published

TIMEOUT_SECONDS = 5
RETRIES = 2  # of each kind of error; a step that only notifies should take seconds
LONGEST_WAIT_SECONDS = 5
_PAUSE = FixedValueRetryIntervalCalculator(0.5)
# Only an error that Slack is known to send is shown: another body might repeat the secret URL.
_SLACK_ERROR = re.compile(r"[a-z_]{1,40}")
# slack-sdk logs the webhook's URL, which is a secret, so its logger stays without a handler.
_SILENT = logging.Logger("slack", logging.CRITICAL + 1)


def notify_success(context: StepContext, *, timeout_seconds: int = TIMEOUT_SECONDS) -> StepResult:
    """Notify that the interval was published; never raises.

    ``details`` say where the message went, with a ``warning`` where something went wrong.
    """
    return _notify(context, partial(slack_message.success, context), timeout_seconds)


def notify_failure(
    context: StepContext, step: str, reason: str, *, timeout_seconds: int = TIMEOUT_SECONDS
) -> StepResult:
    """Notify that ``step`` failed for good, and why; never raises. The details are as above."""
    compose = partial(slack_message.failure, context, step, reason)
    return _notify(context, compose, timeout_seconds)


def _notify(
    context: StepContext, compose: Callable[[RunSummary], Message], timeout_seconds: int
) -> StepResult:
    warnings: list[str] = []
    content = compose(_run_summary(context, warnings))
    if context.slack_webhook_url:
        problem = _post(context.slack_webhook_url, content, timeout_seconds)
        if problem is None:
            return _result("slack", warnings)
        warnings.append(f"{problem}; the message is in {context.run.notifications.name} instead")
    try:
        crash_point("notification:before_append")
        json_lines.append(context.run.notifications, asdict(content))
        crash_point("notification:after_append")
    except OSError as error:
        warnings.append(f"{context.run.notifications} cannot be written: {error.strerror}")
        return _result("nobody", warnings)
    return _result(context.run.notifications.name, warnings)


def _result(sent_to: str, warnings: list[str]) -> StepResult:
    return StepResult(
        details={"sent_to": sent_to, **({"warning": "; ".join(warnings)} if warnings else {})}
    )


def _run_summary(context: StepContext, warnings: list[str]) -> RunSummary:
    """What the message says; one without numbers is better than none."""
    summary = RunSummary()
    try:
        steps = journal.latest_run(journal.read(context.run, context.interval))
        summary = RunSummary(
            elapsed_seconds=journal.elapsed_seconds(steps),
            slowest=max(
                ((step.step, step.seconds) for step in steps), key=lambda s: s[1], default=None
            ),
            warnings=journal.warnings(steps),
        )
        if not context.run.published.exists():
            return summary
        with open_published(context.run) as copy:
            return replace(summary, manifest=copy.manifest, totals=totals.read(copy.connection))
    except Exception as error:  # whatever is wrong with the data, the message must go out
        warnings.append(f"the numbers could not be read: {error}")
        return summary


def _post(url: str, content: Message, timeout_seconds: int) -> str | None:
    """Post the message; None when Slack took it, else why not, without the secret URL."""
    try:
        client = WebhookClient(
            url,
            timeout=timeout_seconds,
            logger=_SILENT,
            retry_handlers=[
                ConnectionErrorRetryHandler(RETRIES, _PAUSE),
                _ServerErrors(RETRIES, _PAUSE),
                _ShortRateLimits(RETRIES, _PAUSE),
            ],
        )
        if proxy_bypass(urlsplit(url).hostname or ""):
            client.proxy = None  # slack-sdk reads the variables of proxies, but not no_proxy
        response = client.send(text=content.text, blocks=content.blocks)
    except Exception as error:  # whatever a URL or a network can cause
        return _cause(error, timeout_seconds)
    body = response.body.strip()
    if response.status_code == 200 and body == "ok":
        return None
    problem = body if _SLACK_ERROR.fullmatch(body) else "without ok"
    return f"Slack answered {response.status_code} {problem}"


def _cause(error: Exception, timeout_seconds: int) -> str:
    """The error's cause; never its text, which may contain the URL."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"Slack did not answer within {timeout_seconds} s"
    if isinstance(cause, OSError) and cause.strerror:
        return f"Slack cannot be reached: {cause.strerror}"
    return f"the Slack webhook cannot be used: {type(error).__name__}"


class _ServerErrors(RetryHandler):
    """Tries again after any 5xx answer; slack-sdk's own handler knows only 500 and 503."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        return response is not None and response.status_code >= 500


class _ShortRateLimits(RateLimitErrorRetryHandler):
    """Waits as Slack asks after 429, unless it asks for long."""

    def _can_retry(
        self,
        *,
        state: RetryState,
        request: HttpRequest,
        response: HttpResponse | None = None,
        error: Exception | None = None,
    ) -> bool:
        if response is None or response.status_code != 429:
            return False
        headers = {name.lower(): values for name, values in response.headers.items()}
        wait = headers.get("retry-after", ["1"])[0]
        return wait.isdecimal() and int(wait) <= LONGEST_WAIT_SECONDS
