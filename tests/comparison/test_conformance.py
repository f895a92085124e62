"""The conformance suite itself: a right run passes, and each kind of wrong one fails."""

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
from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER
from ecommerce_pipeline.interval import days
from ecommerce_pipeline.interval_run import FAILED, SKIPPED, IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import EXTRACT_STEPS, STEP_NAMES
from pipeline_verification import checks
from pipeline_verification.conformance import report, source_reads
from pipeline_verification.conformance.badge import badge
from pipeline_verification.conformance.command import (
    RESULTS,
    choose_scenarios,
    choose_variants,
    compare,
)
from pipeline_verification.conformance.files import results_name
from pipeline_verification.conformance.scenario_run import POSTGRES, Scenario, ScenarioRun
from pipeline_verification.conformance.scenarios import discover
from pipeline_verification.conformance.scenarios.late_and_corrected_rows import SHOP
from pipeline_verification.conformance.source_reads import Reads
from pipeline_verification.conformance.suite import ScenarioOutcome, Suite, check_outcome
from pipeline_verification.harness import remote_variant
from pipeline_verification.harness.environments import variant_names

GATE = "dbt_test_staging"
SECOND = timedelta(seconds=1)


def one_day(scenario: ScenarioRun) -> None:
    """Run the first day."""
    (interval,) = days(scenario.dataset.first_day, 1)
    scenario.advance(interval.start.date())
    scenario.run_interval(interval)


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """The result of a suite, and what it printed."""

    passed: bool
    file: Path
    shown: str
    outcomes: dict[str, ScenarioOutcome]


class RecordingSuite(Suite):
    """Keeps its outcomes for the tests."""

    kept: dict[str, ScenarioOutcome]

    def run(self) -> Iterator[tuple[str, str, ScenarioOutcome]]:
        for scenario, variant, outcome in super().run():
            self.kept[variant] = outcome
            yield scenario, variant, outcome


@pytest.fixture(scope="module")
def suite_result(tmp_path_factory: pytest.TempPathFactory) -> SuiteResult:
    """One day, run by the control and by a variant that does not exist."""
    folder = tmp_path_factory.mktemp("conformance")
    scenario = Scenario("One day", "A day is run.", lambda: SHOP, one_day, POSTGRES)
    shown = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, step_server.running() as address:
        # The control runs in the tests' own environment, too.
        patch.setattr(remote_variant, "interpreter", lambda name: Path(sys.executable))
        patch.setenv(step_server.ENVIRONMENT_VARIABLE, str(address))
        suite = RecordingSuite(
            {"one_day": scenario}, ("cron", "nowhere"), folder / "runs", STEP_SERVER
        )
        object.__setattr__(suite, "kept", {})
        file = folder / "results" / "conformance.json"
        passed = compare(suite, file, quick=True, console=Console(file=shown, width=120))
    return SuiteResult(passed, file, shown.getvalue(), suite.kept)


@pytest.fixture
def right(suite_result: SuiteResult) -> ScenarioOutcome:
    """The control's outcome."""
    return suite_result.outcomes["cron"]


@pytest.fixture
def again(right: ScenarioOutcome, tmp_path: Path) -> ScenarioOutcome:
    """A copy of the right run as a second variant's, not checked yet, for a test to damage."""
    assert right.run is not None
    folder = RunDirectory(tmp_path / "run")
    shutil.copytree(right.run.folder.path, folder.path, symlinks=True)
    session = replace(right.run.session, settings=replace(right.run.session.settings, run=folder))
    receiver = replace(right.run.receiver, payloads=[*right.run.receiver.payloads])
    run = replace(
        right.run,
        session=session,
        receiver=receiver,
        triggered=[*right.run.triggered],
        reads=[*right.run.reads],
    )
    return ScenarioOutcome(run=run)


def failed(outcome: ScenarioOutcome) -> set[str]:
    """The names of the checks that did not pass."""
    return {name for name, check in outcome.checks.items() if not check.passed}


def test_a_right_run_passes(right: ScenarioOutcome, again: ScenarioOutcome) -> None:
    """Every check of a right run passes and says what was checked, also against the control."""
    check_outcome(again, right)
    assert right.passed
    assert failed(again) == set()
    assert again.checks["equals the control"].detail.startswith("17 tables, ")
    assert right.checks["steps"].detail == "16 in 1 runs, each as specified"
    assert set(right.checks) == {
        "source reads",
        "equals the oracle",
        "published copy",
        "steps",
        "notifications",
    }


def damage_value(run: ScenarioRun) -> None:
    with duckdb.connect(run.folder.warehouse) as connection:
        connection.execute("UPDATE marts.fct_orders SET total = total + 0.01 WHERE order_id = 1")


def damage_raw_table(run: ScenarioRun) -> None:
    with duckdb.connect(run.folder.warehouse) as connection:
        connection.execute("CREATE TABLE raw.extra (id INTEGER)")


def damage_published(run: ScenarioRun) -> None:
    (run.folder.published.resolve() / "marts" / "fct_orders.parquet").unlink()


def damage_dashboard(run: ScenarioRun) -> None:
    page = run.folder.dashboard.read_text()
    run.folder.dashboard.write_text(page[: len(page) // 2])


def damage_steps(run: ScenarioRun) -> None:
    run.triggered[0] = replace(run.triggered[0], run=without(run.triggered[0].run, "dbt_snapshot"))


def damage_notifications(run: ScenarioRun) -> None:
    run.receiver.payloads.append(run.receiver.payloads[0])


def damage_reads(run: ScenarioRun) -> None:
    run.reads[0] = {**run.reads[0], "orders": Reads(scans=1, rows=0)}


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (damage_value, {"equals the oracle", "equals the control", "published copy"}),
        (damage_raw_table, {"equals the oracle", "equals the control"}),
        (damage_published, {"published copy"}),
        (damage_dashboard, {"published copy"}),
        (damage_steps, {"steps"}),
        (damage_notifications, {"notifications"}),
        (damage_reads, {"equals the control"}),
    ],
)
def test_a_wrong_run_fails(
    right: ScenarioOutcome,
    again: ScenarioOutcome,
    damage: Callable[[ScenarioRun], None],
    expected: set[str],
) -> None:
    """Each kind of damage fails the checks of the damaged part, and no other."""
    assert again.run is not None
    damage(again.run)
    check_outcome(again, right)
    assert failed(again) == expected
    assert not again.passed
    assert again.first_problem


def test_without_a_control_nothing_equals_it(again: ScenarioOutcome) -> None:
    """Where the control failed, only the comparison with it fails."""
    check_outcome(again, ScenarioOutcome(failure="it did not start"))
    assert failed(again) == {"equals the control"}


def without(run: IntervalRun, name: str) -> IntervalRun:
    """The run as if it had not had a step."""
    return replace(run, steps=tuple(step for step in run.steps if step.name != name))


def failed_at(run: IntervalRun, name: str, state_after: str = SKIPPED) -> IntervalRun:
    """The run as if a step had failed and those after it had another state."""
    states = {GATE: FAILED, **dict.fromkeys(STEP_NAMES[STEP_NAMES.index(name) + 1 :], state_after)}
    steps = (replace(step, state=states.get(step.name, step.state)) for step in run.steps)
    return replace(run, state=FAILED, steps=tuple(steps))


def test_the_gate(right: ScenarioOutcome) -> None:
    """A run stopped at a step when that failed at its only attempt and no later one ran."""
    assert right.run is not None
    run = right.run.triggered[0].run
    assert checks.stopped_at(failed_at(run, GATE), GATE) == []
    assert checks.stopped_at(run, GATE)
    assert checks.stopped_at(failed_at(run, GATE, "success"), GATE)
    assert checks.stopped_at(without(failed_at(run, GATE), "extract_orders"), GATE)
    twice = [replace(step, attempts=2) for step in failed_at(run, GATE).steps]
    assert checks.stopped_at(replace(run, steps=tuple(twice)), GATE)


def test_steps_before_the_gate() -> None:
    """The steps that must end before a step are all upstream of it, in order."""
    assert checks.upstream_of(GATE) == [
        "check_source_freshness",
        *EXTRACT_STEPS,
        "load_raw",
        "dbt_run_staging",
    ]


def test_an_early_step_is_seen(right: ScenarioOutcome) -> None:
    """A step that started before the end of an upstream step is named, with that step."""
    assert right.run is not None
    run = right.run.triggered[0].run
    steps = [
        replace(step, started_at=step.started_at and step.started_at - 3600 * SECOND)
        if step.name == "publish"
        else step
        for step in run.steps
    ]
    early = checks.steps_in_order(replace(run, steps=tuple(steps)))
    assert early == ["2025-01-01: publish started before the end of validate_output"]


def test_a_table_that_is_not_read_is_seen(postgres_url: str) -> None:
    """By the server's counters a table that was not read is found, and no other."""
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
    (problem,) = source_reads.missing(reads, rows)
    assert problem.startswith(f"{TABLES[0].name}: ")
    assert rows[TABLES[0].name] == 3


def test_what_fails_hides_nothing_else(suite_result: SuiteResult) -> None:
    """A variant that cannot be started is recorded with the reason; the others are unaffected."""
    values = json.loads(suite_result.file.read_text())
    outcomes = values["scenarios"]["one_day"]["variants"]
    assert not suite_result.passed
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
    """A variant that takes longer than the limit is terminated and recorded as failed."""
    monkeypatch.setattr(remote_variant, "interpreter", lambda name: Path(sys.executable))
    scenario = Scenario("One day", "A day is run.", lambda: SHOP, one_day)
    suite = Suite({"one_day": scenario}, ("cron",), tmp_path, limit_seconds=0.1)
    ((_, _, outcome),) = suite.run()
    assert outcome.failure is not None
    assert outcome.failure.startswith("cron ended or hung during run_interval; read ")
    assert not outcome.passed


def test_what_is_shown(suite_result: SuiteResult) -> None:
    """A line for each as it ends; then the table, the first problem, and the paths."""
    lines = [line.split() for line in suite_result.shown.splitlines()]
    assert ["scenario", "cron", "nowhere"] in lines
    assert ["1/1", "0/1"] in lines
    assert [line[:3] for line in lines if line[:1] == ["one_day"]] == [
        ["one_day", "cron", "✓"],
        ["one_day", "nowhere", "✗"],
        ["one_day", "✓", lines[lines.index(["scenario", "cron", "nowhere"]) + 1][2]],
    ]
    assert "one_day, nowhere: there is no variant 'nowhere'" in suite_result.shown
    assert f"results  {suite_result.file}" in suite_result.shown


def test_badges_are_made_with_the_results(suite_result: SuiteResult) -> None:
    """Next to the results is one badge for each variant, and none from an earlier run."""
    values = {**json.loads(suite_result.file.read_text()), "form": NATIVE}
    folder = suite_result.file.parent / "badges"
    folder.mkdir(exist_ok=True)
    (folder / "gone.svg").write_text("<svg/>")
    report.write(values, suite_result.file)
    found = {file.stem: file.read_text() for file in folder.iterdir()}
    assert found == {name: badge(name, value) for name, value in values["badges"].items()}


def test_the_committed_badges_are_made_from_the_committed_results() -> None:
    """The committed results are of all scenarios and variants, and the badges match the first.

    The native form's results are the first where they are committed.
    """
    found = {f.stem: f.read_text() for f in (RESULTS / "badges").glob("*.svg")}
    files = [RESULTS / results_name(form) for form in (NATIVE, STEP_SERVER)]
    first, *others = [json.loads(file.read_text()) for file in files if file.exists()]
    for values in (first, *others):
        jsonschema.validate(values, json.loads(report.SCHEMA.read_text()))
        assert list(values["scenarios"]) == list(discover())
        assert tuple(values["badges"]) == variant_names(values["form"])
    assert found == {name: badge(name, value) for name, value in first["badges"].items()}


def test_a_badge_says_how_many_passed() -> None:
    """A badge is valid SVG with the numbers, green only when all passed."""
    texts = ["".join(ElementTree.fromstring(badge("cron", v)).itertext()) for v in ("6/6", "5/6")]  # noqa: S314 (our own)
    assert ["6/6" in texts[0], "5/6" in texts[1]] == [True, True]
    assert "#1a7f37" in badge("cron", "6/6")
    assert "#1a7f37" not in badge("cron", "5/6")


def test_results_that_do_not_fit_the_schema_are_not_written(
    suite_result: SuiteResult, tmp_path: Path
) -> None:
    """A passed outcome with a check that failed is refused, and nothing is touched."""
    values = json.loads(suite_result.file.read_text())
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


def test_the_control_always_runs_and_runs_first() -> None:
    """Whichever variants are named, the control comes first."""
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
    """An unknown name is answered with the known ones."""
    with pytest.raises(PipelineError, match=message):
        choose()


def test_updated_results_keep_the_other_scenarios(suite_result: SuiteResult) -> None:
    """Scenarios that ran again replace their results; the others' and the score include both."""
    values = json.loads(suite_result.file.read_text())
    failed_before = json.loads(json.dumps(values["scenarios"]["one_day"]))
    failed_before["variants"]["cron"]["passed"] = False
    before = {**values, "scenarios": {"another": failed_before, "one_day": failed_before}}
    merged = report.updated(before, values)
    assert merged["scenarios"] == {
        "another": failed_before,
        "one_day": values["scenarios"]["one_day"],
    }
    assert merged["badges"] == {"cron": "1/2", "nowhere": "0/2"}
