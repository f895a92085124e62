"""Waiting for a flow run: every wait ends, and a crash that nobody resumes is resumed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import run
from ecommerce_pipeline.errors import PipelineError
from run import Prefect


class FakeServer:
    """Shows the flow run's states one after another, and the last one for ever."""

    def __init__(self, *states: str) -> None:
        self._states = list(states)
        self.retried = 0

    def read_run(self, run_id: str) -> dict[str, Any]:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        return {"id": run_id, "state_type": state, "run_count": 1}

    def retry(self, run_id: str) -> None:
        self.retried += 1
        self._states = ["SCHEDULED", "COMPLETED"]


def waiting_for(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Prefect:
    monkeypatch.setattr(run, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(run, "RESUME_SECONDS", 0.05)
    prefect = Prefect()
    prefect.api = server  # type: ignore[assignment]  # what of it the wait uses
    prefect._logs = Path("logs")
    return prefect


def test_a_crash_that_nobody_resumes_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that stays Crashed, as after a restart of the server, is resumed after a while."""
    server = FakeServer("RUNNING", "CRASHED")
    waiting_for(server, monkeypatch).wait("1")
    assert server.retried == 1


def test_a_crash_that_the_automation_resumes_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that leaves Crashed by itself in time is not resumed a second time."""
    server = FakeServer("RUNNING", "CRASHED", "SCHEDULED", "RUNNING", "CRASHED", "COMPLETED")
    waiting_for(server, monkeypatch).wait("1")
    assert server.retried == 0


def test_a_run_that_never_ends_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that its steps have the wait ends in a line that names the run."""
    monkeypatch.setattr(run, "longest_run_seconds", lambda intervals: 0.05)
    with pytest.raises(PipelineError, match=r"the flow run 1 has not ended after 0\.05 s"):
        waiting_for(FakeServer("RUNNING"), monkeypatch).wait("1")
