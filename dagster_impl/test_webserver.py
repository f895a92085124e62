"""Whom Dagster's webserver answers: who has the password, and no page of another origin."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from urllib.parse import quote

from client import PASSWORD_FILE, authorization
from run import Dagster

LAUNCH_ALL = "mutation { launchMultipleRuns(executionParamsList: []) { __typename } }"


def status(
    services: Dagster, path: str, headers: Mapping[str, str] = {}, body: bytes | None = None
) -> int:
    """The status that the webserver answers to a request with these headers."""
    (address,) = services.addresses.values()
    request = urllib.request.Request(address + path, body, dict(headers))  # noqa: S310 (loopback)
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 (loopback)
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_answers_nobody_without_the_password(services: Dagster) -> None:
    """Without the password no page, query or report is answered, and the file of it is private."""
    file = services._home / PASSWORD_FILE
    assert file.stat().st_mode & 0o077 == 0
    for path in ("/", "/graphql?query={version}", "/server_info", "/logs/x", "/graphql"):
        assert status(services, path) == 401, path
    for path in ("/graphql", "/report_asset_materialization/x"):
        assert status(services, path, body=b"{}") == 401
        assert status(services, path, {"Authorization": authorization("guess")}, b"{}") == 401
    assert status(services, "/", {"Authorization": authorization(file.read_text())}) == 200


def test_no_other_web_page_can_use_the_password(services: Dagster) -> None:
    """With the password, which a browser repeats, requests of foreign pages are refused."""
    known = {"Authorization": authorization((services._home / PASSWORD_FILE).read_text())}
    (address,) = services.addresses.values()
    query = f"/graphql?query={quote(LAUNCH_ALL)}"
    body = json.dumps({"query": LAUNCH_ALL}).encode()
    json_type = {"Content-Type": "application/json", **known}
    assert status(services, "/graphql", {**json_type, "Origin": address}, body) == 200
    assert status(services, query, known) == 405
    assert status(services, query, {**known, "Content-Type": "text/plain"}, b"x") == 405
    foreign: dict[str, str]
    for foreign in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
        {"Host": "evil.example"},  # a name that resolves to loopback
    ):
        assert status(services, "/graphql", {**json_type, **foreign}, body) == 403, foreign
        assert status(services, "/", {**known, **foreign}) == 403, foreign


def test_no_other_web_page_can_open_a_web_socket(services: Dagster) -> None:
    """A WebSocket, on which queries can be sent too, needs the password and no foreign origin."""
    (address,) = services.addresses.values()
    host = address.removeprefix("http://")
    known = f"Authorization: {authorization((services._home / PASSWORD_FILE).read_text())}"

    def answer(*headers: str) -> str:
        upgrade = (
            "GET /graphql HTTP/1.1",
            f"Host: {host}",
            *("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"),
            *("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: graphql-ws"),
            *headers,
        )
        name, _, port = host.partition(":")
        with socket.create_connection((name, int(port)), timeout=60) as connection:
            connection.sendall("\r\n".join([*upgrade, "", ""]).encode())
            return connection.recv(1000).split(b" ")[1].decode()

    assert answer(known, f"Origin: {address}") == "101"
    assert answer(known, "Origin: https://evil.example") == "403"
    assert answer(f"Origin: {address}") == "403"
