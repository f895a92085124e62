"""An HTTP server in Slack's place, with the answers that a test gives it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "T000/B000/c0ffee"
"""The part of the webhook's URL that is a secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; ``stalls`` sends that many bytes of the body and then nothing more."""

    status: int = 200
    body: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict)
    stalls: int | None = None


@dataclass(slots=True)
class Receiver:
    """The payloads that arrived, and the answers: each is used once, the last one always."""

    port: int
    answers: list[Answer] = field(default_factory=lambda: [Answer()])
    payloads: list[dict[str, Any]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        """The webhook's URL, whose path is a secret."""
        return f"http://127.0.0.1:{self.port}/services/{PATH}"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver on a free port of 127.0.0.1 for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.payloads.append(json.loads(body))
            answers = receiver.answers
            _send(self, answers.pop(0) if len(answers) > 1 else answers[0], receiver.over)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
            """Say nothing."""

    # With threads an answer that stalls does not keep the next request from being answered.
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _send(handler: BaseHTTPRequestHandler, answer: Answer, over: threading.Event) -> None:
    if answer.stalls == 0:
        over.wait(30)
        return
    handler.send_response(answer.status)
    for name, value in {"Content-Length": str(len(answer.body)), **answer.headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(answer.body.encode()[: answer.stalls])
    if answer.stalls is not None:
        handler.wfile.flush()
        over.wait(30)
