"""Notifications: exact on Slack or in the file, and never a failure of the data."""

from __future__ import annotations

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.http_retry import FixedValueRetryIntervalCalculator

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.files import json_lines
from ecommerce_pipeline.result import StepResult
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps import notify
from pipeline_verification.harness.webhook_receiver import PATH, Answer, Receiver, receiving
from support import crash_points, small_warehouse

CHILD = """
import sys
from pathlib import Path
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.steps.notify import notify_success
from ecommerce_pipeline.run_directory import RunDirectory
run, interval = sys.argv[1:]
notify_success(StepContext(RunDirectory(Path(run)), DataInterval.parse(interval), "sqlite://"))
"""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A receiver without a proxy before it, and short pauses between attempts."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(notify, "_PAUSE", FixedValueRetryIntervalCalculator(0.01))
    with receiving() as running:
        yield running


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a published run of which three steps were noted."""
    return small_warehouse.publish_sample(tmp_path_factory.mktemp("published"))


@pytest.fixture
def context(published: Path, tmp_path: Path) -> StepContext:
    """A copy of the published run; no webhook is set."""
    folder = shutil.copytree(published, tmp_path / "run", symlinks=True)
    return StepContext(RunDirectory(folder), small_warehouse.INTERVAL, "sqlite://")


def lines(context: StepContext) -> list[dict[str, Any]]:
    """The notifications in the file."""
    return list(json_lines.read(context.run.notifications))


def fields(blocks: list[dict[str, Any]]) -> dict[str, str]:
    """The fields' values by name."""
    section = next(block for block in blocks if "fields" in block)
    return dict(field["text"][1:].split("*\n") for field in section["fields"])


def test_a_webhook_that_needs_no_proxy_goes_through_none(
    context: StepContext, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A webhook whose host is in no_proxy is posted to directly, any other through the proxy."""
    monkeypatch.setattr(urllib.request, "_opener", None)  # keeps the variables of its first use
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    notified = replace(context, slack_webhook_url=receiver.url)
    assert notify.notify_success(notified).details == {"sent_to": "slack"}
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    warning = notify.notify_success(notified).details["warning"]
    assert "Slack cannot be reached: Connection refused" in str(warning)


def test_a_success_posts_exactly_this(context: StepContext, receiver: Receiver) -> None:
    """A success posts one message with the published numbers and the run's durations."""
    result = notify.notify_success(replace(context, slack_webhook_url=receiver.url))
    title = "✅ Pipeline succeeded: 3 Jan 2025"
    assert receiver.payloads == [
        {
            "text": title,
            "blocks": [
                {"type": "header", "text": {"type": "plain_text", "text": title}},
                {
                    "type": "section",
                    "fields": [
                        {"type": "mrkdwn", "text": text}
                        for text in (
                            "*Interval*\n3 Jan 2025",
                            "*Revenue*\n$1,234.45",
                            "*Orders*\n4",
                            "*Customers*\n3",
                            "*Rows published*\n15",
                            "*Duration*\n1 min 5 s",
                            "*Slowest step*\npublish, 1 min",
                        )
                    ],
                },
                {
                    "type": "context",
                    "elements": [
                        {
                            "type": "mrkdwn",
                            "text": f"Dashboard: {context.run.dashboard}",
                            "verbatim": True,
                        }
                    ],
                },
            ],
        }
    ]
    assert result == StepResult(details={"sent_to": "slack"})
    assert not context.run.notifications.exists()


def test_a_failure_posts_step_reason_and_what_readers_see(
    context: StepContext, receiver: Receiver
) -> None:
    """A failure names the step and the reason, escaped, and what is still published."""
    context = replace(context, slack_webhook_url=receiver.url)
    notify.notify_failure(context, "dbt_test_marts", "2 > 1 & <!channel> ```x```\nsecond line")
    [payload] = receiver.payloads
    assert payload["text"] == "❌ Pipeline failed: 3 Jan 2025 (dbt_test_marts)"
    assert fields(payload["blocks"]) == {
        "Interval": "3 Jan 2025",
        "Step": "dbt_test_marts",
        "Readers see": "data through 3 Jan 2025",
        "Duration": "1 min 5 s",
        "Slowest step": "publish, 1 min",
    }
    reason = "```2 &gt; 1 &amp; &lt;!channel&gt; '''x'''\nsecond line```"
    assert payload["blocks"][2]["text"]["text"] == reason
    log = context.run.path / "logs" / "2025-01-03" / "dbt_test_marts.log"
    assert payload["blocks"][3]["elements"][0]["text"] == f"Log: {log}"


def test_without_a_webhook_the_message_is_a_line(context: StepContext, receiver: Receiver) -> None:
    """Without a webhook the file gets what Slack would have got, and an id."""
    notify.notify_success(replace(context, slack_webhook_url=receiver.url))
    result = notify.notify_success(context)
    [line] = lines(context)
    assert {"text": line["text"], "blocks": line["blocks"]} == receiver.payloads[0]
    assert (line["id"], line["interval"]) == (
        "2025-01-03/success",
        "2025-01-03T00:00:00Z/2025-01-04T00:00:00Z",
    )
    assert result.details == {"sent_to": "notifications.jsonl"}


def test_a_run_again_notifies_again(context: StepContext) -> None:
    """A repeated notification is a further line of the same id; another step's has another."""
    notify.notify_success(context)
    notify.notify_success(context)
    notify.notify_failure(context, "load_raw", "no")
    notify.notify_failure(context, "publish", "no")
    assert [line["id"] for line in lines(context)] == [
        "2025-01-03/success",
        "2025-01-03/success",
        "2025-01-03/failure/load_raw",
        "2025-01-03/failure/publish",
    ]


@pytest.mark.parametrize(("moment", "before"), [("before_append", 0), ("after_append", 1)])
def test_a_killed_notifier_leaves_whole_lines(
    context: StepContext, moment: str, before: int
) -> None:
    """SIGKILL before or after the line is written leaves no line or a whole one."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(context.run.path), str(context.interval)],
        env={**os.environ, **crash_points.environment(f"notification:{moment}")},
        check=False,
    )
    assert child.returncode == -9
    assert len(lines(context)) == before
    notify.notify_success(context)
    text = context.run.notifications.read_text()
    assert [json.loads(line)["kind"] for line in text.splitlines()] == ["success"] * (before + 1)


def refused(context: StepContext, timeout_seconds: int = 5) -> str:
    """Notify, check that the message fell back to the file and no secret shows: the warning."""
    result = notify.notify_success(context, timeout_seconds=timeout_seconds)
    assert result.details["sent_to"] == "notifications.jsonl"
    assert [line["id"] for line in lines(context)] == ["2025-01-03/success"]
    warning = str(result.details["warning"])
    assert warning.endswith("; the message is in notifications.jsonl instead")
    assert "c0ffee" not in warning
    return warning.partition(";")[0]


@pytest.mark.parametrize(
    ("answer", "warning", "attempts"),
    [
        (Answer(500, "<h1>boom</h1>"), "Slack answered 500 without ok", 3),
        (Answer(502, "bad_gateway"), "Slack answered 502 bad_gateway", 3),
        (Answer(200, "invalid_payload"), "Slack answered 200 invalid_payload", 1),
        (Answer(200, ""), "Slack answered 200 without ok", 1),
        (Answer(404, f"no_service for {PATH}"), "Slack answered 404 without ok", 1),
        (Answer(429, "slow", {"Retry-After": "3600"}), "Slack answered 429 slow", 1),
        (Answer(429, "slow", {"Retry-After": "Mon, 1 Jan"}), "Slack answered 429 slow", 1),
    ],
)
def test_an_answer_that_is_not_ok_warns(
    context: StepContext, receiver: Receiver, answer: Answer, warning: str, attempts: int
) -> None:
    """Any answer but 200 "ok" is a warning; only a server's error is tried again, twice."""
    receiver.answers = [answer]
    assert refused(replace(context, slack_webhook_url=receiver.url)) == warning
    assert len(receiver.payloads) == attempts


@pytest.mark.parametrize("first", [Answer(503), Answer(429, "slow", {"Retry-After": "0"})])
def test_a_passing_trouble_is_overcome(
    context: StepContext, receiver: Receiver, first: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a second attempt is accepted there is no warning and no line in the file."""
    monkeypatch.setattr("random.random", lambda: 0.0)  # slack-sdk's jitter after 429
    receiver.answers = [first, Answer()]
    result = notify.notify_success(replace(context, slack_webhook_url=receiver.url))
    assert result.details == {"sent_to": "slack"}
    assert receiver.payloads[0] == receiver.payloads[1]
    assert not context.run.notifications.exists()


@pytest.mark.parametrize("stalls", [0, 1], ids=["before the answer", "within the answer"])
def test_a_hanging_receiver_is_given_up(
    context: StepContext, receiver: Receiver, stalls: int
) -> None:
    """A receiver that does not answer in time is a warning, after one attempt."""
    receiver.answers = [Answer(stalls=stalls)]
    context = replace(context, slack_webhook_url=receiver.url)
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        assert refused(context, timeout_seconds=1) == "Slack did not answer within 1 s"
        gc.collect()  # slack-sdk leaves the half-read answer open
    assert len(receiver.payloads) == 1


def test_a_refused_connection_warns(context: StepContext, receiver: Receiver) -> None:
    """A closed port is a warning."""
    with receiving() as closed:
        url = closed.url
    context = replace(context, slack_webhook_url=url)
    assert refused(context) == "Slack cannot be reached: Connection refused"


@pytest.mark.parametrize(
    "url",
    [
        f"not a url {PATH}",
        f"file:///services/{PATH}",
        f"http:///services/{PATH}",
        f"http://127.0.0.1:port/services/{PATH}",
        f"http://[::1/services/{PATH}",
        f"http://127.0.0.1:1/ services/{PATH}\n",
        f"http://127.0.0.1:1/é/{PATH}",
    ],
)
def test_an_invalid_url_warns_and_stays_secret(
    context: StepContext,
    receiver: Receiver,
    url: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A URL that cannot be used is a warning, and appears in no log and no output."""
    with caplog.at_level(logging.DEBUG):
        warning = refused(replace(context, slack_webhook_url=url))
    assert warning.startswith("the Slack webhook cannot be used: ")
    assert "c0ffee" not in caplog.text + "".join(capfd.readouterr())


def test_the_url_is_in_no_log_when_all_goes_well(
    context: StepContext, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """With every log switched on, a good delivery logs no webhook."""
    with caplog.at_level(logging.DEBUG):
        notify.notify_success(replace(context, slack_webhook_url=receiver.url))
    assert "c0ffee" not in caplog.text


def test_a_reason_shows_no_credential(context: StepContext, receiver: Receiver) -> None:
    """A password in a URL and the webhook are hidden in a reason that contains them."""
    context = replace(context, slack_webhook_url=receiver.url)
    reason = f"postgresql://shop:p@ss:w0rd@db/shop refused; told {receiver.url}"
    notify.notify_failure(context, "load_raw", reason)
    shown = receiver.payloads[0]["blocks"][2]["text"]["text"]
    assert shown == "```postgresql://shop:***@db/shop refused; told ***```"


def test_unreadable_numbers_are_left_out(context: StepContext) -> None:
    """A damaged published copy costs the numbers and warns; the message still goes out."""
    (context.run.published / "marts/fct_orders.parquet").unlink()
    result = notify.notify_success(context)
    assert "the numbers could not be read" in str(result.details["warning"])
    assert fields(lines(context)[0]["blocks"])["Duration"] == "1 min 5 s"


def test_a_failure_before_anything_is_published(tmp_path: Path) -> None:
    """In an empty run folder a failure says that readers see nothing yet, without a warning."""
    context = StepContext(RunDirectory(tmp_path), small_warehouse.INTERVAL, "sqlite://")
    result = notify.notify_failure(context, "load_raw", "no")
    assert result.details == {"sent_to": "notifications.jsonl"}
    assert fields(lines(context)[0]["blocks"]) == {
        "Interval": "3 Jan 2025",
        "Step": "load_raw",
        "Readers see": "nothing yet",
    }


def test_where_nothing_can_be_written_it_warns(context: StepContext) -> None:
    """Without a webhook and with an unwritable file the step still succeeds, with a warning."""
    context.run.notifications.mkdir()
    result = notify.notify_success(context)
    assert result.details["sent_to"] == "nobody"
    assert "notifications.jsonl cannot be written: Is a directory" in str(result.details["warning"])
