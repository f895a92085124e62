"""The conformance suite: every variant through every scenario, compared with control and oracle.

python -m pipeline_verification.conformance.command --quick
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import use_stated_environment
from ecommerce_pipeline.execution.processes import exit_on_sigterm
from ecommerce_pipeline.harness.command_line import run_cli
from ecommerce_pipeline.harness.variant import NATIVE
from pipeline_verification.conformance import report
from pipeline_verification.conformance.files import results_name
from pipeline_verification.conformance.scenario_run import Scenario
from pipeline_verification.conformance.scenarios import discover
from pipeline_verification.conformance.suite import ScenarioOutcome, Suite
from pipeline_verification.harness.environments import (
    CONTROL,
    ROOT,
    form_names,
    has_form,
    variant_folder,
    variant_names,
)

FOLDER = ROOT / "runs" / "compare"
RESULTS = ROOT / "benchmarks" / "results"
INTERRUPTED = 130


@click.command(context_settings={"show_default": True})
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...")
@click.option("--quick", is_flag=True, help="Only the quick scenarios.")
@click.option(
    "--variants",
    metavar="NAMES",
    help="Variants to compare with the control, such as airflow,dagster.",
)
@click.option(
    "--form",
    type=click.Choice(form_names()),
    default=NATIVE,
    help="The form of the pipelines; a variant that lacks it is left out.",
)
@click.option(
    "--update", is_flag=True, help="Put the scenarios into the committed results of the others."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The results file.  [default: the committed one for a full run, else in runs/compare]",
)
def command(  # noqa: PLR0917 (click passes them by name)
    scenarios: tuple[str, ...],
    quick: bool,
    variants: str | None,
    form: str,
    update: bool,
    out: Path | None,
) -> None:
    """Compare every variant with the control, the oracle and the specification."""
    exit_on_sigterm()
    use_stated_environment()
    chosen = choose_scenarios(scenarios, quick=quick)
    names = choose_variants(variants, form)
    whole = not quick and len(chosen) == len(discover()) and names == choose_variants(None, form)
    name = results_name(form)
    file = out or (RESULTS / name if whole or update else FOLDER / name)
    if update and (quick or names != choose_variants(None, form)):
        raise PipelineError(
            "--update is for whole scenarios of every variant", "leave out --quick and --variants"
        )
    try:
        passed = compare(
            Suite(chosen, names, FOLDER / form, form), file, quick=quick, update=update
        )
    except KeyboardInterrupt:
        click.echo("stopped by Ctrl+C, and every variant with it; no result was written", err=True)
        sys.exit(INTERRUPTED)
    sys.exit(0 if passed else 1)


def compare(
    suite: Suite,
    file: Path,
    *,
    quick: bool,
    update: bool = False,
    console: Console | None = None,
) -> bool:
    """Run the suite, write its results to a file, and print them; whether everything passed.

    With ``update`` the other scenarios' results stay in the file.
    """
    console = console or Console(highlight=False, soft_wrap=True, markup=False)
    outcomes: dict[str, dict[str, ScenarioOutcome]] = {}
    cells = len(suite.scenarios) * len(suite.variants)
    with console.status("") as status:
        status.update(f"0 of {cells} done")
        for scenario, variant, outcome in suite.run():
            of_one = outcomes.setdefault(scenario, {})
            of_one[variant] = outcome
            console.print(_line(scenario, variant, outcome))
            status.update(f"{sum(map(len, outcomes.values()))} of {cells} done")
    values = report.results(suite.scenarios, outcomes, form=suite.form, quick=quick)
    if update:
        values = report.updated(json.loads(file.read_text()), values)
    report.write(values, file)
    console.print("")
    console.print(report.table(values))
    for problem in report.problems(values):
        console.print(f"\n{problem}")
    console.print(f"\nresults  {file}")
    if suite.form == NATIVE:
        console.print(f"badges   {file.parent / report.BADGES}")
    console.print(f"runs     {suite.folder}")
    return all(outcome.passed for of_one in outcomes.values() for outcome in of_one.values())


def choose_scenarios(names: Sequence[str], *, quick: bool) -> Mapping[str, Scenario]:
    """The scenarios with these names, or all; with ``quick`` only the quick ones among them.

    Raises:
        PipelineError: a name is unknown, or no scenario is left.
    """
    known = discover()
    for name in names:
        if name not in known:
            raise PipelineError(f"there is no scenario {name!r}", f"choose from {', '.join(known)}")
    chosen = {name: known[name] for name in known if not names or name in names}
    if quick:
        chosen = {name: scenario for name, scenario in chosen.items() if scenario.quick}
    if not chosen:
        raise PipelineError("none of these scenarios is quick", "leave out --quick")
    return chosen


def choose_variants(text: str | None, form: str = NATIVE) -> tuple[str, ...]:
    """The named variants, or all; the control is always among them, and first.

    Args:
        text: names, separated by commas; None means all.
        form: those that lack it are left out, but for the control, which then runs natively.

    Raises:
        PipelineError: a name is unknown.
    """
    if text is None:
        return tuple(name for name in variant_names() if name == CONTROL or has_form(name, form))
    named = [name.strip() for name in text.split(",")]
    for name in named:
        variant_folder(name)
    return tuple(name for name in choose_variants(None, form) if name == CONTROL or name in named)


def _line(scenario: str, variant: str, outcome: ScenarioOutcome) -> str:
    result = "✓" if outcome.passed else "✗"
    problem = outcome.first_problem.splitlines()[0] if outcome.first_problem else ""
    return f"{scenario:<26} {variant:<10} {result} {outcome.seconds:7.1f} s  {problem}".rstrip()


if __name__ == "__main__":
    run_cli(command)
