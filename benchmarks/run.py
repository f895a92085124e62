"""Measures: every verb of ``definitions/``, or those named. It knows no tool and no verb by name.

See README.md for what is measured, how, and the limits.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path

import click

import definitions
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.processes import exit_on_sigterm
from ecommerce_pipeline.harness.command_line import run_cli
from measuring.options import ROUNDS, Options, Outcome
from measuring.report import say

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
UNFINISHED = ROOT / "runs" / "benchmark"
VERBS = sorted(module.name for module in pkgutil.iter_modules(definitions.__path__))


@click.command(context_settings={"show_default": True})
@click.argument("names", metavar="[VERB]...", nargs=-1, type=click.Choice(VERBS))
@click.option("--quick", is_flag=True, help="One round of the smallest sizes: does it still run?")
@click.option("--rounds", type=click.IntRange(min=1), help=f"How often.  [default: {ROUNDS}]")
@click.option("--variants", metavar="A,B", callback=lambda *given: _listed(given[2]))
@click.option("--cases", metavar="A,B", callback=lambda *given: _listed(given[2]))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="For the results.")
@click.option("--fresh", is_flag=True, help="Do not go on with an interrupted measurement.")
def main(
    names: tuple[str, ...],
    *,
    quick: bool,
    rounds: int | None,
    variants: tuple[str, ...] | None,
    cases: tuple[str, ...] | None,
    out: Path | None,
    fresh: bool,
) -> None:
    """Measure VERBs, or all, and write one JSON file for each.

    An interrupted measurement goes on where it stopped when it is started again. Results of a part
    (--quick, --variants, --cases) go below runs/benchmark unless --out is given.
    """
    if cases and len(names) != 1:
        raise click.UsageError("--cases needs exactly one VERB")
    unfinished = UNFINISHED / "quick" if quick else UNFINISHED
    whole = not (quick or variants or cases)
    options = Options(
        out=out or (RESULTS if whole else unfinished),
        partial=unfinished,
        rounds=rounds or (1 if quick else ROUNDS),
        quick=quick,
        variants=variants,
        cases=cases,
        fresh=fresh or quick,
    )
    exit_on_sigterm()
    sys.exit(0 if measure_all(names or VERBS, options) else 1)


def measure_all(names: Iterable[str], options: Options) -> bool:
    """Measure each verb, print its table, and tell whether nothing failed."""
    failed = [name for name in names if not _measure(name, options)]
    if failed:
        say(f"with failures: {', '.join(failed)}")
    return not failed


def _measure(name: str, options: Options) -> bool:
    """A verb that cannot be measured does not stop the others."""
    try:
        outcome: Outcome = importlib.import_module(f"definitions.{name}").run(options)
    except PipelineError as error:
        say(f"{name}: {error}")
        return False
    except KeyboardInterrupt:
        say("\ninterrupted; the same command goes on from here")
        raise SystemExit(130) from None
    click.echo("\n".join(("", *outcome.lines)))
    click.echo(f"{name}: {outcome.failures} failed samples; the results are in {outcome.file}")
    return outcome.failures == 0


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(","))


if __name__ == "__main__":
    run_cli(main)
