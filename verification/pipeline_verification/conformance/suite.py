"""Lets every variant play every scenario, and holds what each leaves against the others."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.harness.run_record import RunRecord
from ecommerce_pipeline.harness.variant import started
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification import checks
from pipeline_verification.checks import Check
from pipeline_verification.conformance.stage import Scenario, Stage, running_source
from pipeline_verification.harness.remote_variant import RemoteVariant
from pipeline_verification.harness.webhook_receiver import receiving
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.history import IntervalRun as IntervalEvent
from pipeline_verification.oracle.history import SourceAdvanced
from pipeline_verification.oracle.source_state import SourceState

PATIENCE_SECONDS = 1800.0


@dataclass(slots=True)
class Outcome:
    """How one variant came through one scenario.

    Attributes:
        seconds: from an empty folder until everything was stopped and checked.
        checks: what was checked, by name.
        failure: why the scenario could not be played to its end, in one line; None when it was.
        versions: of what the variant ran on; empty where it did not start.
        stage: what was seen; None where it did not start.
    """

    seconds: float = 0.0
    checks: dict[str, Check] = field(default_factory=dict)
    failure: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    stage: Stage | None = None

    @property
    def passed(self) -> bool:
        """Whether it was played to its end and every check holds."""
        held = [check.passed for check in self.checks.values()]
        return self.failure is None and bool(held) and all(held)

    @property
    def first_fault(self) -> str:
        """The failure, or the first check that does not hold; empty when it passed."""
        if self.failure is not None:
            return self.failure
        broken = (f"{name}: {c.detail}" for name, c in self.checks.items() if not c.passed)
        return next(broken, "")


@dataclass(frozen=True, slots=True)
class Suite:
    """What is played, by whom, and where.

    Attributes:
        scenarios: by name.
        variants: the names of the variants; the first is the control.
        folder: where the runs' folders are made anew.
        patience_seconds: how long a variant may take for a scenario before it is ended.
    """

    scenarios: Mapping[str, Scenario]
    variants: Sequence[str]
    folder: Path
    patience_seconds: float = PATIENCE_SECONDS

    def play(self) -> Iterator[tuple[str, str, Outcome]]:
        """Scenario, variant and outcome of each in turn, the control first."""
        for name, scenario in self.scenarios.items():
            control: Outcome | None = None
            for variant in self.variants:
                outcome = self._play_one(name, scenario, variant, control)
                control = control or outcome
                yield name, variant, outcome

    def _play_one(
        self, name: str, scenario: Scenario, variant: str, control: Outcome | None
    ) -> Outcome:
        """Play one scenario with one variant; nothing that goes wrong gets past this."""
        outcome, begun = Outcome(), time.monotonic()
        run = RunDirectory(self.folder / name / variant)
        try:
            shutil.rmtree(run.path, ignore_errors=True)
            run.path.mkdir(parents=True)
            self._perform(scenario, variant, run, outcome)
            judge(outcome, control)
        except Exception as error:
            outcome.failure = _in_one_line(error)
        finally:
            if outcome.stage is not None:
                outcome.checks = {**outcome.stage.checks, **outcome.checks}
        outcome.seconds = round(time.monotonic() - begun, 1)
        return outcome

    def _perform(
        self, scenario: Scenario, variant: str, run: RunDirectory, outcome: Outcome
    ) -> None:
        """Start the variant, let it play, and stop it, whatever happens."""
        remote = RemoteVariant(variant, run.path / "logs" / "host.log")
        dataset = scenario.dataset()
        with receiving() as receiver, running_source(scenario, dataset, run) as url:
            settings = RunSettings(run=run, source_url=url, slack_webhook_url=receiver.url)
            begun = datetime.now(UTC)
            with started(remote, settings), _ended_after(self.patience_seconds, remote.pid):
                outcome.versions = dict(remote.versions)
                outcome.stage = Stage(run, dataset, url, remote, receiver)
                scenario.play(outcome.stage)
            _record(variant, scenario, outcome.stage, begun, outcome.versions).write(run.record)


@contextmanager
def _ended_after(seconds: float, pid: int) -> Iterator[None]:
    """Have a variant that hangs end, so that it does not hold up the others."""
    timer = threading.Timer(seconds, os.kill, [pid, signal.SIGTERM])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def judge(outcome: Outcome, control: Outcome | None) -> None:
    """Check what the variant left, and what its tool says of the runs."""
    stage = outcome.stage
    if stage is None:
        return
    expected = expected_tables(SourceState(stage.dataset), stage.history)
    size = checks.size(stage.run.warehouse)
    found: dict[str, tuple[Sequence[object], str]] = {
        "equals the oracle": (checks.against_oracle(stage.run, expected), size),
        "published copy": (checks.published(stage.run), "equals the warehouse"),
        "steps": (_steps(stage), _steps_in_words(stage)),
        "notifications": (_messages(stage), f"one for each of {len(stage.triggered)} runs"),
    }
    if control is not None:
        found["equals the control"] = (_against_control(stage, control), size)
    outcome.checks = {name: Check.of(*values) for name, values in found.items()}


def _steps(stage: Stage) -> list[str]:
    """In what the steps that the tool reports differ from the specification."""
    faults: list[str] = []
    for triggered in stage.triggered:
        run, gate = triggered.run, triggered.fails_at
        faults += checks.steps_ran(run) if gate is None else checks.stopped_at(run, gate)
        faults += checks.steps_in_order(run)
    return faults


def _steps_in_words(stage: Stage) -> str:
    steps = [step for triggered in stage.triggered for step in triggered.run.steps]
    done = sum(step.state == SUCCESS for step in steps)
    return f"{done} in {len(stage.triggered)} runs, each as specified"


def _messages(stage: Stage) -> list[str]:
    runs = [(triggered.run.interval, triggered.fails_at) for triggered in stage.triggered]
    return checks.told(stage.receiver.payloads, runs)


def _against_control(stage: Stage, control: Outcome) -> list[object]:
    """In what the variant differs from the control, its reads at the source included."""
    if control.stage is None or control.failure is not None:
        return ["there is no control to compare with"]
    faults: list[object] = [*checks.against(stage.run, control.stage.run)]
    if stage.reads != control.stage.reads:
        faults.append(f"reads at the source: {stage.reads}, the control's {control.stage.reads}")
    return faults


def _record(
    variant: str, scenario: Scenario, stage: Stage, begun: datetime, versions: Mapping[str, str]
) -> RunRecord:
    """The run record, for who looks into the folder afterwards."""
    dataset = stage.dataset
    return RunRecord(
        variant=variant,
        versions=versions,
        dataset={"name": dataset.name, "options": dict(dataset.options)},
        source=scenario.source,
        mode=stage.mode,
        started_at=begun,
        history=[_history_entry(event) for event in stage.history],
        intervals=[triggered.run for triggered in stage.triggered],
        ended_at=datetime.now(UTC),
        state=SUCCESS,
    )


def _history_entry(event: SourceAdvanced | IntervalEvent) -> dict[str, str]:
    if isinstance(event, SourceAdvanced):
        return {"advance": event.to_day.isoformat()}
    return {"interval": str(event.interval), "state": SUCCESS}


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
