"""A client of the part of Airflow's REST API that ``run.py`` uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from ecommerce_pipeline.errors import PipelineError

Values = dict[str, Any]


class UnreachableError(Exception):
    """The API server does not answer, for example because it is starting."""


class Api:
    """A session of one user."""

    def __init__(self, address: str) -> None:
        self._client = httpx.Client(base_url=address, timeout=60, trust_env=False)

    def log_in(self, user: str, password: str) -> None:
        """Request a token and send it with every later request."""
        token = self.post("/auth/token", {"username": user, "password": password})
        self._client.headers["Authorization"] = f"Bearer {token['access_token']}"

    def get(self, path: str, **parameters: str | int) -> Values:
        """The values at a path.

        Raises:
            UnreachableError: the server does not answer.
            PipelineError: the response is an error.
        """
        return _values(self._send("GET", path, params=parameters))

    def post(self, path: str, body: Mapping[str, Any]) -> Values:
        """Send values to a path; raises as ``get`` does."""
        return _values(self._send("POST", path, json=body))

    def create(self, path: str, body: Mapping[str, Any]) -> Values | None:
        """Like ``post``, but None when the object exists already (status 409)."""
        response = self._send("POST", path, json=body)
        return None if response.status_code == httpx.codes.CONFLICT else _values(response)

    def exists(self, path: str) -> bool:
        """Whether the server has an object at the path."""
        return bool(self._send("GET", path).is_success)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:  # noqa: ANN401 (httpx's own)
        try:
            return self._client.request(method, path, **content)
        except httpx.TransportError as error:
            raise UnreachableError(str(error)) from error


def _values(response: httpx.Response) -> Values:
    if response.is_success:
        values: Values = response.json()
        return values
    request = response.request
    raise PipelineError(
        f"Airflow answered {response.status_code} to {request.method} {request.url.path}: "
        f"{response.text[:300]}",
        "read the log of its API server",
    )
