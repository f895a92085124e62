"""Runs every variant through every scenario, and checks what each leaves."""

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
from ecommerce_pipeline.harness.run_session import RunSession, empty_source, running_source
from ecommerce_pipeline.harness.variant import NATIVE, Variant, started
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification import checks
from pipeline_verification.checks import Check
from pipeline_verification.conformance.scenario_run import Scenario, ScenarioRun
from pipeline_verification.harness.environments import has_form
from pipeline_verification.harness.remote_variant import RemoteVariant
from pipeline_verification.harness.webhook_receiver import receiving
from pipeline_verification.oracle import expected_tables
from pipeline_verification.oracle.source_state import SourceState
from pipeline_verification.verdict import FinishedRunEvidence, verify

LIMIT_SECONDS = 1800.0


@dataclass(slots=True)
class ScenarioOutcome:
    """The result of one variant in one scenario.

    Attributes:
        seconds: from an empty folder until the variant was stopped and everything was checked.
        checks: the checks by name.
        failure: why the scenario did not get to its end, in one line; None when it did.
        versions: of Python and the packages that matter; empty where the variant did not start.
        run: what was seen; None where the variant did not start.
    """

    seconds: float = 0.0
    checks: dict[str, Check] = field(default_factory=dict)
    failure: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    run: ScenarioRun | None = None

    @property
    def passed(self) -> bool:
        """Whether the scenario got to its end and every check passed; no check is no pass."""
        results = [check.passed for check in self.checks.values()]
        return self.failure is None and bool(results) and all(results)

    @property
    def first_problem(self) -> str:
        """The failure, or the first check that did not pass; empty when all did."""
        if self.failure is not None:
            return self.failure
        failed = (f"{name}: {c.detail}" for name, c in self.checks.items() if not c.passed)
        return next(failed, "")


@dataclass(frozen=True, slots=True)
class Suite:
    """Scenarios and the variants that run through them.

    Attributes:
        scenarios: the scenarios by name.
        variants: the names of the variants; the first is the control.
        form: the form of their pipelines; one that lacks it runs natively.
        folder: holds a folder for each run, which is emptied first.
        limit_seconds: how long a variant may take for a scenario before it is terminated.
    """

    scenarios: Mapping[str, Scenario]
    variants: Sequence[str]
    folder: Path
    form: str = NATIVE
    limit_seconds: float = LIMIT_SECONDS

    def run(self) -> Iterator[tuple[str, str, ScenarioOutcome]]:
        """Yield scenario, variant and outcome, one after the other, the control first."""
        for name, scenario in self.scenarios.items():
            control: ScenarioOutcome | None = None
            for variant in self.variants:
                outcome = self._run_one(name, scenario, variant, control)
                control = control or outcome  # the first variant is the control
                yield name, variant, outcome

    def _run_one(
        self, name: str, scenario: Scenario, variant: str, control: ScenarioOutcome | None
    ) -> ScenarioOutcome:
        """Run one scenario with one variant; an error becomes the outcome's failure."""
        outcome, begun = ScenarioOutcome(), time.monotonic()
        folder = RunDirectory(self.folder / name / variant)
        try:
            shutil.rmtree(folder.path, ignore_errors=True)
            folder.path.mkdir(parents=True)
            self._start_and_run(scenario, variant, folder, outcome)
            check_outcome(outcome, control)
        except Exception as error:
            outcome.failure = _in_one_line(error)
        finally:
            if outcome.run is not None:
                outcome.checks = {**outcome.run.checks, **outcome.checks}
        outcome.seconds = round(time.monotonic() - begun, 1)
        return outcome

    def _start_and_run(
        self, scenario: Scenario, variant: str, folder: RunDirectory, outcome: ScenarioOutcome
    ) -> None:
        """Start the variant, take it through the scenario, and stop it, whatever happens."""
        form = self.form if has_form(variant, self.form) else NATIVE
        remote = RemoteVariant(variant, folder.path / "logs" / "host.log", form)
        dataset = scenario.dataset()
        with (
            receiving() as receiver,
            running_source(scenario.source, folder, durable=False) as url,
        ):
            empty_source(url)
            settings = RunSettings(run=folder, source_url=url, slack_webhook_url=receiver.url)
            begun = datetime.now(UTC)
            with started(remote, settings), _terminated_after(self.limit_seconds, remote.pid):
                outcome.versions = dict(remote.versions)
                session = RunSession(remote, settings, dataset)
                outcome.run = ScenarioRun(session, dataset, receiver)
                scenario.run(outcome.run)
            _record(remote, scenario, outcome.run, begun, outcome.versions).write(folder.record)


@contextmanager
def _terminated_after(seconds: float, pid: int) -> Iterator[None]:
    """Terminate a variant that hangs, so that the others get their turn."""
    timer = threading.Timer(seconds, os.kill, [pid, signal.SIGTERM])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def check_outcome(outcome: ScenarioOutcome, control: ScenarioOutcome | None) -> None:
    """Add the checks of what the variant left, and of what its tool reports of the runs.

    Args:
        outcome: the variant's.
        control: the control's, which it must equal; None for the control itself.
    """
    run = outcome.run
    if run is None:
        return
    evidence = FinishedRunEvidence(
        folder=run.folder,
        state=SUCCESS,
        history=run.history,
        runs=run.triggered,
        expected=expected_tables(SourceState(run.dataset), run.history),
    )
    outcome.checks = verify(evidence)
    outcome.checks["notifications"] = Check.of(
        _notifications(run), f"one for each of {len(run.triggered)} runs"
    )
    if control is not None:
        size = checks.warehouse_size(run.folder.warehouse)
        outcome.checks["equals the control"] = Check.of(_against_control(run, control), size)


def _notifications(run: ScenarioRun) -> list[str]:
    runs = [(triggered.run.interval, triggered.fails_at) for triggered in run.triggered]
    return checks.notified(run.receiver.payloads, runs)


def _against_control(run: ScenarioRun, control: ScenarioOutcome) -> list[object]:
    """How the variant differs from the control, its reads at the source included."""
    if control.run is None or control.failure is not None:
        return ["there is no control to compare with"]
    problems: list[object] = [*checks.other_run(run.folder, control.run.folder)]
    if run.reads != control.run.reads:
        problems.append(f"reads at the source: {run.reads}, the control's {control.run.reads}")
    return problems


def _record(
    variant: Variant,
    scenario: Scenario,
    run: ScenarioRun,
    begun: datetime,
    versions: Mapping[str, str],
) -> RunRecord:
    """The run record, for people who inspect the folder afterwards."""
    return RunRecord(
        variant=variant.name,
        form=variant.form,
        versions=versions,
        dataset={"name": run.dataset.name, "options": dict(run.dataset.options)},
        source=scenario.source,
        mode=run.mode,
        started_at=begun,
        history=run.session.history,
        intervals=run.session.runs,
        ended_at=datetime.now(UTC),
        state=SUCCESS,
    )


def _in_one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
