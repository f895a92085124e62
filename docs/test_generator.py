"""The generator shows the files' code and the committed results, and names what is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import build
import samples
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.specification import STEPS
from pipeline_verification.harness.environments import ROOT
from website import charts, pages, snippets
from website.evidence import Evidence
from website.results import Measured, Results
from website.tools import tools

PIPELINE = """
LIMIT = 2


@decorated
def outer(x: int) -> None:
    with group("a") as staging:
        first()

    def inner() -> None:
        second()

    value = [
        x,
    ]


class Runner:
    async def step(self) -> None:
        third()
"""


def change_result(results: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a result file."""
    path = results / f"{name}.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def build_error(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a build that fails."""
    assert build.main(["--results", str(results), "--site", str(tmp_path / "site")]) == 1
    assert not (tmp_path / "site").exists()
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("conformance", "nox -s compare"),
        ("pipeline", "nox -s benchmark -- pipeline"),
        ("steps", "nox -s benchmark -- steps"),
        ("footprint", "nox -s benchmark -- footprint"),
        ("extract", "nox -s benchmark -- extract"),
        ("faults-airflow", "nox -s faults-airflow"),
    ],
)
def test_a_missing_result_is_named_with_what_makes_it(
    name: str, command: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without one of the result files the build fails with a line that names file and command."""
    (results / f"{name}.json").unlink()
    line = build_error(results, tmp_path, capsys)
    assert line == f"error: {results / name}.json is missing; make it with: {command}"


def test_a_missing_key_is_named(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result file without a key that a page needs fails the build; the line names the key."""
    change_result(
        results, "steps", lambda c: c["cases"]["small"]["variants"]["dagster"].pop("summary")
    )
    line = build_error(results, tmp_path, capsys)
    assert "steps.json has no cases / small / variants / dagster / summary;" in line


def test_a_variant_that_was_not_measured_is_named(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool that is missing from a result file fails the build."""
    change_result(results, "pipeline", lambda c: c["cases"]["small"]["variants"].pop("prefect"))
    assert "has no cases / small / variants / prefect;" in build_error(results, tmp_path, capsys)


def test_a_quick_result_is_refused(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Numbers of a quick run are not shown: it only checks that measuring works."""
    change_result(results, "pipeline", lambda c: c.update(quick=True))
    assert "pipeline.json is of a quick run; measure in full" in build_error(
        results, tmp_path, capsys
    )


def test_a_missing_picture_is_named(
    results: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A screen in a tool's site.toml without its picture fails the build."""
    monkeypatch.setattr(pages, "IMAGES", tmp_path)
    assert re.search(
        r"\w+-\w+\.png is missing; make it with", build_error(results, tmp_path, capsys)
    )


def test_a_tool_that_is_not_equal_has_no_number(results: Path) -> None:
    """A tool that failed one scenario has the reason in place of each number."""
    failed = samples.outcome("2 rows of fct_orders differ")
    change_result(results, "conformance", lambda c: _outcomes(c, "backfill").update(dagster=failed))
    found = Results(results)
    for benchmark in ("pipeline", "steps", "footprint"):
        for metric in samples.METRICS:
            measured = found.measured(benchmark, "small", metric, "dagster")
            assert measured.summary is None
            assert measured.reason.endswith(
                "it is not equal: Backfill: 2 rows of fct_orders differ"
            )
            assert found.measured(benchmark, "small", metric, "prefect").summary is not None
    shown = Evidence(found, tools()).measurements("pipeline")
    assert shown.count("<em>no number, as it is not equal: Backfill: 2 rows") == len(
        samples.METRICS
    )


def _outcomes(conformance: dict[str, Any], scenario: str) -> dict[str, Any]:
    outcomes: dict[str, Any] = conformance["scenarios"][scenario]["variants"]
    return outcomes


def test_a_case_shows_how_often_it_was_measured(results: Path) -> None:
    """n is the minimum over the variants."""
    shown = Evidence(Results(results), tools()).measurements("pipeline")
    assert f"n = {samples.ROUNDS}." in shown
    change_result(
        results,
        "pipeline",
        lambda found: found["cases"]["small"]["variants"]["airflow"]["samples"].pop(),
    )
    shown = Evidence(Results(results), tools()).measurements("pipeline")
    assert f"n = {samples.ROUNDS - 1}." in shown


def test_a_failed_check_says_what_was_seen(results: Path) -> None:
    """A scenario with a failed check is not passed, and shows that check's detail."""
    checks = {
        "tables": {"passed": False, "detail": "3 rows\ndiffer"},
        "steps": {"passed": True, "detail": ""},
    }
    outcome = {"passed": False, "checks": checks, "seconds": 1.0, "failure": None}
    change_result(
        results, "conformance", lambda c: _outcomes(c, "backfill").update(airflow=outcome)
    )
    evidence = Evidence(Results(results), tools())
    assert "✗ differs</span><br><small>tables: 3 rows<br>differ</small>" in evidence.conformance(
        "native"
    )
    assert evidence.scenarios_passed() == "1 of 2"


def test_failed_samples_are_reported(results: Path) -> None:
    """Numbers are shown with the count of failed samples; where all failed, only the reason is."""

    def fail(content: dict[str, Any]) -> None:
        variants = content["cases"]["small"]["variants"]
        variants["airflow"]["samples"][0].update(values={}, failure="killed")
        for sample in variants["dagster"]["samples"]:
            sample.update(values={}, failure="no memory")
        variants["dagster"]["summary"] = {}

    change_result(results, "pipeline", fail)
    found = Results(results)
    some = found.measured("pipeline", "small", "seconds", "airflow")
    assert (some.summary is not None, some.reason) == (True, "1 of 5 failed: killed")
    every = found.measured("pipeline", "small", "seconds", "dagster")
    assert every == Measured(None, "5 of 5 failed: no memory")


@pytest.mark.parametrize(
    ("symbol", "text"),
    [
        ("LIMIT", "LIMIT = 2"),
        ("@outer", "@decorated"),
        ("outer.staging", 'with group("a") as staging:\n    first()'),
        ("outer.group", 'with group("a") as staging:\n    first()'),
        ("outer.inner", "def inner() -> None:\n    second()"),
        ("outer.value", "value = [\n    x,\n]"),
        ("Runner.step", "async def step(self) -> None:\n    third()"),
    ],
)
def test_a_snippet_is_the_lines_of_its_symbol(symbol: str, text: str, tmp_path: Path) -> None:
    """Functions, methods, assignments, blocks and decorators are complete and not indented."""
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    assert snippets.snippet(tmp_path, f"pipeline.py:{symbol}").text == text


@pytest.mark.parametrize("symbol", ["gone", "outer.gone", "inner", "Runner.step.third", "@LIMIT"])
def test_a_missing_symbol_is_named(symbol: str, tmp_path: Path) -> None:
    """A symbol that a file no longer has is an error that names both."""
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    with pytest.raises(PipelineError, match=rf"pipeline\.py has no '{symbol}'"):
        snippets.snippet(tmp_path, f"pipeline.py:{symbol}")


def test_a_yaml_snippet_has_the_comment_above_its_key() -> None:
    """Of a YAML file a top-level key is shown, with the comment that explains it."""
    lines = snippets.snippet(ROOT / "dagster_impl", "dagster.yaml:run_retries").lines
    assert lines[0].startswith("# A run whose process was killed")
    assert lines[1] == "run_retries:"
    assert all(line.startswith("  ") for line in lines[2:])


def test_a_section_keeps_comments_in_its_code(tmp_path: Path) -> None:
    """A line of shell that begins with # is no heading; a missing heading is an error."""
    readme = tmp_path / "README.md"
    readme.write_text("# T\nintro\n## A\n```sh\n# comment\n## more\n```\n### deep\n## B\nend\n")
    assert snippets.headings(readme) == ["A", "B"]
    assert snippets.section(readme, "A") == "```sh\n# comment\n## more\n```\n### deep"
    with pytest.raises(PipelineError, match=r"README\.md has no section 'C'"):
        snippets.section(readme, "C")


def test_a_readme_without_its_title_keeps_its_sections_apart(tmp_path: Path) -> None:
    """A heading that follows a table at once does not become a row of it."""
    readme = tmp_path / "README.md"
    readme.write_text("# T\nintro\n## A\n| a |\n|---|\n| b |\n## B\nend\n")
    assert snippets.section(readme) == "intro\n\n## A\n| a |\n|---|\n| b |\n\n## B\nend"


def test_a_list_right_below_a_line_stays_a_list() -> None:
    """The site's Markdown needs an empty line before a list, which the READMEs do not have."""
    text = "Not used:\n- one\n  goes on\n- two\n\n```sh\nrun\n- no list\n```"
    apart = "Not used:\n\n- one\n  goes on\n- two\n\n```sh\nrun\n- no list\n```"
    assert snippets.with_lists_apart(text) == apart


def test_every_snippet_of_every_tool_is_on_the_page(site: Path) -> None:
    """Side by side shows every snippet that a tool's site.toml names, and no other file."""
    shown = (site / "side-by-side" / "index.html").read_text()
    named = {
        pages.file_name(snippet, tool.folder.name)
        for tool in tools()
        for concern in tool.code
        for snippet in tool.snippets(concern)
    }
    assert set(re.findall(r'class="filename">([^<]+)<', shown)) == named


def test_the_specification_page_has_every_step(site: Path) -> None:
    """The page's table names each step of the specification once, in order, with its upstream."""
    page = (pages.PAGES / "specification.md").read_text()
    rows = [row.split("|")[1:4] for row in page.splitlines() if re.match(r"\| \d", row)]
    numbered = {n.strip(): re.findall(r"`(\w+)`", names) for n, names, _ in rows}
    waits = {n.strip(): re.findall(r"\d+", waits) for n, _, waits in rows}
    assert [name for names in numbered.values() for name in names] == [s.name for s in STEPS]
    for step in STEPS:
        number = next(n for n, names in numbered.items() if step.name in names)
        upstream = [name for n in waits[number] for name in numbered[n]]
        assert sorted(upstream) == sorted(step.upstream), step.name


def test_bars_are_in_proportion() -> None:
    """The maximum sample is at the full width, bars end at medians, the text has the numbers."""
    low = {"n": 5, "median": 10.0, "min": 9.0, "max": 12.0, "ratio": None}
    high = {"n": 5, "median": 30.0, "min": 20.0, "max": 40.0, "ratio": {"median": 3.0}}
    rows = [("A", Measured(low)), ("B", Measured(high)), ("C", Measured(None, "failed"))]
    svg = charts.bars("Time <1>", "s", rows)
    assert re.findall(r'class="bar" y="\S+" width="([\d.]+)%"', svg) == ["25.00", "75.00"]
    assert re.findall(r'x1="([\d.]+)%" x2="([\d.]+)%"', svg) == [
        ("22.50", "30.00"),
        ("50.00", "100.00"),
    ]
    (text,) = re.findall(r'aria-label="([^"]+)"', svg)
    assert text.startswith("Time &lt;1&gt;: A 10 s (9\N{EN DASH}12); B 30 s (20\N{EN DASH}40) ")
    assert text.endswith("C no number")
