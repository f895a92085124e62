"""Dagster's webserver for one user: ``python webserver.py`` takes the options of the original.

The original answers everybody: any user of the machine, and by a link or a form any page that the
user has open in a browser, may launch runs and delete what they left.
"""

from __future__ import annotations

import hmac
import os
from pathlib import Path

import dagster_webserver.app
from dagster_webserver.cli import main
from dagster_webserver.webserver import DagsterWebserver
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from client import PASSWORD_FILE, authorization

GRAPHQL = "/graphql"


class Guard:
    """Lets through what shows the password, and was not sent by a page of another origin."""

    def __init__(self, app: ASGIApp, password: str) -> None:
        self._app = app
        self._authorization = authorization(password)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or a WebSocket; a refused WebSocket is closed before it opens."""
        refusal = None if scope["type"] == "lifespan" else self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, send)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if not _is_own_origin(headers, scope["server"][1]):
            return PlainTextResponse("sent by a page of another origin", 403)
        # A browser repeats the password in whatever a foreign page has it request.
        if not hmac.compare_digest(
            headers.get("authorization", "").encode(), self._authorization.encode()
        ):
            challenge = {"WWW-Authenticate": 'Basic realm="Dagster"'}
            return PlainTextResponse("the password is missing or wrong", 401, challenge)
        if scope["type"] == "http" and scope["path"].startswith(GRAPHQL):
            return _graphql_refusal(scope, headers)
        return None


def _is_own_origin(headers: Headers, port: int) -> bool:
    """Whether the address asked for is this server's, and so is the page that asks, if any."""
    own = {f"127.0.0.1:{port}", f"localhost:{port}"}
    origin = headers.get("origin", "")
    return (
        headers.get("host") in own  # not that of a foreign name that resolves to loopback
        and (not origin or origin.removeprefix("http://") in own)
        and headers.get("sec-fetch-site", "none") in ("same-origin", "none")
    )


def _graphql_refusal(scope: Scope, headers: Headers) -> PlainTextResponse | None:
    """Queries are JSON in a POST, which no link and no form can send; GET shows GraphiQL."""
    is_json = headers.get("content-type", "").partition(";")[0].strip() == "application/json"
    if (scope["method"] == "POST" and is_json) or not scope["query_string"]:
        return None
    return PlainTextResponse("send queries as JSON by POST", 405)


class GuardedWebserver(DagsterWebserver):
    """The webserver with the guard before everything else."""

    def build_middleware(self) -> list[Middleware]:
        """The original's middleware behind the guard."""
        password = (Path(os.environ["DAGSTER_HOME"]) / PASSWORD_FILE).read_text()
        return [Middleware(Guard, password=password), *super().build_middleware()]


if __name__ == "__main__":
    dagster_webserver.app.DagsterWebserver = GuardedWebserver  # it has no hook for this
    main()
