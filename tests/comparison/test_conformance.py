"""The conformance suite itself: a right run passes, and each kind of wrong one is seen."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import duckdb
import jsonschema
import pytest
from rich.console import Console

from ecommerce_pipeline import source
from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.datasets import advance
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.interval import days
from ecommerce_pipeline.interval_run import FAILED, SKIPPED, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_NAMES
from pipeline_verification import checks
from pipeline_verification.conformance import report, source_reads
from pipeline_verification.conformance.badge import badge
from pipeline_verification.conformance.command import (
    COMMITTED,
    choose_scenarios,
    choose_variants,
    compare,
)
from pipeline_verification.conformance.scenarios import discover
from pipeline_verification.conformance.scenarios.late_and_corrected_rows import SHOP
from pipeline_verification.conformance.source_reads import Reads
from pipeline_verification.conformance.stage import POSTGRES, Scenario, Stage
from pipeline_verification.conformance.suite import Outcome, Suite, judge
from pipeline_verification.harness import remote_variant
from pipeline_verification.harness.environments import variant_names

GATE = "dbt_test_staging"
SECOND = timedelta(seconds=1)


def one_day(stage: Stage) -> None:
    """Run the first day."""
    (interval,) = days(stage.dataset.first_day, 1)
    stage.advance(interval.start.date())
    stage.run_interval(interval)


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a suite, and what it showed."""

    passed: bool
    file: Path
    shown: str
    outcomes: dict[str, Outcome]


class Kept(Suite):
    """A suite that keeps its outcomes."""

    kept: dict[str, Outcome]

    def play(self) -> Iterator[tuple[str, str, Outcome]]:
        for scenario, variant, outcome in super().play():
            self.kept[variant] = outcome
            yield scenario, variant, outcome


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """One day, played by the control and by a variant that does not exist."""
    folder = tmp_path_factory.mktemp("conformance")
    scenario = Scenario("One day", "A day is run.", lambda: SHOP, one_day, POSTGRES)
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, step_server.running() as address:
        # The control runs in the tests' own environment, too.
        patch.setattr(remote_variant, "interpreter", lambda name: Path(sys.executable))
        patch.setenv(step_server.ENVIRONMENT_VARIABLE, str(address))
        suite = Kept({"one_day": scenario}, ("cron", "nowhere"), folder / "runs")
        object.__setattr__(suite, "kept", {})
        file = folder / "results" / "conformance.json"
        passed = compare(suite, file, quick=True, console=Console(file=shown, width=120))
    return Played(passed, file, shown.getvalue(), suite.kept)


@pytest.fixture
def right(played: Played) -> Outcome:
    """The control's outcome."""
    return played.outcomes["cron"]


@pytest.fixture
def again(right: Outcome, tmp_path: Path) -> Outcome:
    """A copy of it as a second variant's, not judged yet, to be spoiled."""
    assert right.stage is not None
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(right.stage.run.path, run.path, symlinks=True)
    receiver = replace(right.stage.receiver, payloads=[*right.stage.receiver.payloads])
    stage = replace(
        right.stage,
        run=run,
        receiver=receiver,
        triggered=[*right.stage.triggered],
        reads=[*right.stage.reads],
    )
    return Outcome(stage=stage)


def red(outcome: Outcome) -> set[str]:
    """The checks that do not hold."""
    return {name for name, check in outcome.checks.items() if not check.passed}


def test_a_right_run_passes(right: Outcome, again: Outcome) -> None:
    """Every check of a right run holds and says what was seen, also beside the control."""
    judge(again, right)
    assert right.passed
    assert red(again) == set()
    assert again.checks["equals the control"].detail.startswith("13 tables, ")
    assert right.checks["steps"].detail == "16 in 1 runs, each as specified"
    assert set(right.checks) == {
        "source reads",
        "equals the oracle",
        "published copy",
        "steps",
        "notifications",
    }


def spoil_value(stage: Stage) -> None:
    with duckdb.connect(stage.run.warehouse) as connection:
        connection.execute("UPDATE marts.fct_orders SET total = total + 0.01 WHERE order_id = 1")


def spoil_raw_table(stage: Stage) -> None:
    with duckdb.connect(stage.run.warehouse) as connection:
        connection.execute("CREATE TABLE raw.extra (id INTEGER)")


def spoil_published(stage: Stage) -> None:
    (stage.run.published.resolve() / "marts" / "fct_orders.parquet").unlink()


def spoil_dashboard(stage: Stage) -> None:
    page = stage.run.dashboard.read_text()
    stage.run.dashboard.write_text(page[: len(page) // 2])


def spoil_steps(stage: Stage) -> None:
    stage.triggered[0] = replace(
        stage.triggered[0], run=without(stage.triggered[0].run, "dbt_snapshot")
    )


def spoil_notifications(stage: Stage) -> None:
    stage.receiver.payloads.append(stage.receiver.payloads[0])


def spoil_reads(stage: Stage) -> None:
    stage.reads[0] = {**stage.reads[0], "orders": Reads(scans=1, rows=0)}


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (spoil_value, {"equals the oracle", "equals the control", "published copy"}),
        (spoil_raw_table, {"equals the oracle", "equals the control"}),
        (spoil_published, {"published copy"}),
        (spoil_dashboard, {"published copy"}),
        (spoil_steps, {"steps"}),
        (spoil_notifications, {"notifications"}),
        (spoil_reads, {"equals the control"}),
    ],
)
def test_a_wrong_run_fails(
    right: Outcome, again: Outcome, spoil: Callable[[Stage], None], expected: set[str]
) -> None:
    """Each kind of fault fails the checks that look at it, and no other."""
    assert again.stage is not None
    spoil(again.stage)
    judge(again, right)
    assert red(again) == expected
    assert not again.passed
    assert again.first_fault


def test_without_a_control_nothing_equals_it(again: Outcome) -> None:
    """Where the control failed, its comparison fails, and the one with the oracle stands."""
    judge(again, Outcome(failure="it did not start"))
    assert red(again) == {"equals the control"}


def without(run: IntervalRun, name: str) -> IntervalRun:
    """The run as if it had not had a step."""
    return replace(run, steps=tuple(step for step in run.steps if step.name != name))


def failed_at(run: IntervalRun, name: str, state_after: str = SKIPPED) -> IntervalRun:
    """The run as if a step had failed and those after it had another state."""
    states = {GATE: FAILED, **dict.fromkeys(STEP_NAMES[STEP_NAMES.index(name) + 1 :], state_after)}
    steps = (replace(step, state=states.get(step.name, step.state)) for step in run.steps)
    return replace(run, state=FAILED, steps=tuple(steps))


def test_the_gate(right: Outcome) -> None:
    """A gate holds when the step failed at its only attempt and no later one ran."""
    assert right.stage is not None
    run = right.stage.triggered[0].run
    assert checks.stopped_at(failed_at(run, GATE), GATE) == []
    assert checks.stopped_at(run, GATE)
    assert checks.stopped_at(failed_at(run, GATE, "success"), GATE)
    assert checks.stopped_at(without(failed_at(run, GATE), "extract_orders"), GATE)
    twice = [replace(step, attempts=2) for step in failed_at(run, GATE).steps]
    assert checks.stopped_at(replace(run, steps=tuple(twice)), GATE)


def test_steps_before_the_gate() -> None:
    """What must have ended before a step is everything upstream of it, in order."""
    assert checks.upstream_of(GATE) == [
        "check_source_freshness",
        *EXTRACT_STEPS,
        "load_raw",
        "dbt_run_staging",
    ]


def test_an_early_step_is_seen(right: Outcome) -> None:
    """A step that began before the end of one it waits for is named, with that one."""
    assert right.stage is not None
    run = right.stage.triggered[0].run
    steps = [
        replace(step, started_at=step.started_at and step.started_at - 3600 * SECOND)
        if step.name == "publish"
        else step
        for step in run.steps
    ]
    early = checks.steps_in_order(replace(run, steps=tuple(steps)))
    assert early == ["2025-01-01: publish started before the end of validate_output"]


def test_a_table_that_is_not_read_is_seen(postgres_url: str) -> None:
    """The server's counters tell a table that was read from one that was not."""
    (interval,) = days(SHOP.first_day, 1)
    with closing(source.connect(postgres_url)) as database:
        database.create_tables()
        advance(database, SHOP, SHOP.first_day)
    source_reads.make_steady(postgres_url)
    rows = source_reads.rows_of(postgres_url, interval)
    before = source_reads.counted(postgres_url)
    with closing(source.connect(postgres_url)) as database:
        database.newest_update(interval.end)
        for table in TABLES[1:]:
            list(database.read_interval(table, interval))
    after = source_reads.counted(postgres_url)
    reads = {name: after[name] - before[name] for name in after}
    (fault,) = source_reads.missing(reads, rows)
    assert fault.startswith(f"{TABLES[0].name}: ")
    assert rows[TABLES[0].name] == 3


def test_what_fails_hides_nothing_else(played: Played) -> None:
    """A variant that cannot be started is recorded with its reason; the others are as they are."""
    values = json.loads(played.file.read_text())
    outcomes = values["scenarios"]["one_day"]["variants"]
    assert not played.passed
    assert {name: outcome["passed"] for name, outcome in outcomes.items()} == {
        "cron": True,
        "nowhere": False,
    }
    reason = "there is no variant 'nowhere'; choose from " + ", ".join(variant_names())
    assert outcomes["nowhere"]["failure"] == reason
    assert values["badges"] == {"cron": "1/1", "nowhere": "0/1"}
    assert values["versions"]["cron"]["tenacity"]
    assert values["versions"]["nowhere"] == {}
    assert values["quick"] is True


def test_a_variant_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes too long is ended and recorded as failed."""
    monkeypatch.setattr(remote_variant, "interpreter", lambda name: Path(sys.executable))
    scenario = Scenario("One day", "A day is run.", lambda: SHOP, one_day)
    suite = Suite({"one_day": scenario}, ("cron",), tmp_path, patience_seconds=0.1)
    ((_, _, outcome),) = suite.play()
    assert outcome.failure is not None
    assert outcome.failure.startswith("cron ended while it was to run_interval; read ")
    assert not outcome.passed


def test_what_is_shown(played: Played) -> None:
    """A line for each as it ends; then the table, the first fault, and where everything is."""
    lines = [line.split() for line in played.shown.splitlines()]
    assert ["scenario", "cron", "nowhere"] in lines
    assert ["1/1", "0/1"] in lines
    assert [line[:3] for line in lines if line[:1] == ["one_day"]] == [
        ["one_day", "cron", "✓"],
        ["one_day", "nowhere", "✗"],
        ["one_day", "✓", lines[lines.index(["scenario", "cron", "nowhere"]) + 1][2]],
    ]
    assert "one_day, nowhere: there is no variant 'nowhere'" in played.shown
    assert f"results  {played.file}" in played.shown


def test_badges_are_made_with_the_results(played: Played) -> None:
    """Beside the results lies one badge for each variant, and none of an earlier time."""
    values = json.loads(played.file.read_text())
    folder = played.file.parent / "badges"
    (folder / "gone.svg").write_text("<svg/>")
    report.write(values, played.file)
    found = {file.stem: file.read_text() for file in folder.iterdir()}
    assert found == {name: badge(name, value) for name, value in values["badges"].items()}


def test_the_committed_badges_are_made_from_the_committed_results() -> None:
    """What is committed is of all scenarios and variants, and its badges say what it says."""
    found = {f.stem: f.read_text() for f in (COMMITTED.parent / "badges").glob("*.svg")}
    if COMMITTED.exists():
        values = json.loads(COMMITTED.read_text())
        jsonschema.validate(values, json.loads(report.SCHEMA.read_text()))
        assert list(values["scenarios"]) == list(discover())
        assert tuple(values["badges"]) == variant_names()
        assert found == {name: badge(name, value) for name, value in values["badges"].items()}
    else:
        assert found == {}


def test_a_badge_says_how_many_passed() -> None:
    """A badge is whole SVG that says the number, green only where all passed."""
    texts = ["".join(ElementTree.fromstring(badge("cron", v)).itertext()) for v in ("6/6", "5/6")]  # noqa: S314 (our own)
    assert ["6/6" in texts[0], "5/6" in texts[1]] == [True, True]
    assert "#1a7f37" in badge("cron", "6/6")
    assert "#1a7f37" not in badge("cron", "5/6")


def test_results_that_do_not_fit_the_schema_are_not_written(played: Played, tmp_path: Path) -> None:
    """A passed outcome with a check that failed is refused, and nothing is touched."""
    values = json.loads(played.file.read_text())
    values["scenarios"]["one_day"]["variants"]["cron"]["checks"]["steps"]["passed"] = False
    with pytest.raises(jsonschema.ValidationError):
        report.write(values, tmp_path / "conformance.json")
    assert list(tmp_path.iterdir()) == []


def test_scenarios_are_the_files_of_the_folder() -> None:
    """Every file is a scenario whose rule is one sentence; some are quick."""
    found = discover()
    folder = Path(report.__file__).with_name("scenarios")
    assert sorted(found) == sorted(f.stem for f in folder.glob("[a-z]*.py"))
    assert all(one.rule.count(".") == 1 and one.rule.endswith(".") for one in found.values())
    assert choose_scenarios([], quick=True).keys() < found.keys()
    assert list(choose_scenarios(["backfill"], quick=False)) == ["backfill"]


def test_the_control_always_plays_and_plays_first() -> None:
    """Whichever variants are named, the control is there before them."""
    assert choose_variants("prefect,airflow") == ("cron", "airflow", "prefect")
    assert choose_variants(None) == variant_names()


@pytest.mark.parametrize(
    ("choose", "message"),
    [
        (lambda: choose_scenarios(["nope"], quick=False), "no scenario 'nope'; choose from back"),
        (lambda: choose_scenarios(["backfill"], quick=True), "none of these scenarios is quick"),
        (lambda: choose_variants("cron,flow"), "there is no variant 'flow'; choose from cron"),
    ],
)
def test_a_wrong_choice_is_one_line(choose: Callable[[], object], message: str) -> None:
    """A name that is not there is answered with those that are."""
    with pytest.raises(PipelineError, match=message):
        choose()
