"""Runs the benchmarks of ``definitions/``. It knows no tool and no benchmark by name.

README.md says what is measured and how, and names the limits.
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
from measuring.options import ROUNDS, BenchmarkOptions, BenchmarkOutcome
from measuring.report import say

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
UNFINISHED = ROOT / "runs" / "benchmark"
BENCHMARKS = sorted(module.name for module in pkgutil.iter_modules(definitions.__path__))


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(text.split(","))


@click.command(context_settings={"show_default": True})
@click.argument("names", metavar="[BENCHMARK]...", nargs=-1, type=click.Choice(BENCHMARKS))
@click.option("--quick", is_flag=True, help="One round of the smallest sizes: does it still run?")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    help=f"How often everything is measured.  [default: {ROUNDS}]",
)
@click.option("--variants", metavar="A,B", help="Measure only these.  [default: all]")
@click.option("--cases", metavar="A,B", help="Measure only these.  [default: all]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder for the results.  [default: benchmarks/results, or runs/benchmark for a part]",
)
@click.option("--fresh", is_flag=True, help="Do not continue an interrupted measurement.")
def main(
    names: tuple[str, ...],
    *,
    quick: bool,
    rounds: int | None,
    variants: str | None,
    cases: str | None,
    out: Path | None,
    fresh: bool,
) -> None:
    """Measure BENCHMARKs, or all of them, and write a JSON file for each.

    The same command continues an interrupted measurement. Results of a part (--quick, --variants,
    --cases) go into runs/benchmark unless --out is given. Beside the --cases a file in --out keeps
    its other ones.
    """
    if cases and len(names) != 1:
        raise click.UsageError("--cases needs exactly one BENCHMARK")
    unfinished = UNFINISHED / "quick" if quick else UNFINISHED
    whole = not (quick or variants or cases)
    options = BenchmarkOptions(
        out=out or (RESULTS if whole else unfinished),
        partial=unfinished,
        rounds=rounds or (1 if quick else ROUNDS),
        quick=quick,
        variants=_split(variants),
        cases=_split(cases),
        fresh=fresh or quick,
    )
    exit_on_sigterm()
    sys.exit(0 if measure_all(names or BENCHMARKS, options) else 1)


def measure_all(names: Iterable[str], options: BenchmarkOptions) -> bool:
    """Run each benchmark and print its table; whether every sample of all of them succeeded."""
    failed = [name for name in names if not _measure(name, options)]
    if failed:
        say(f"with failures: {', '.join(failed)}")
    return not failed


def _measure(name: str, options: BenchmarkOptions) -> bool:
    """Run one benchmark; one that cannot be measured does not stop the others."""
    try:
        outcome: BenchmarkOutcome = importlib.import_module(f"definitions.{name}").run(options)
    except PipelineError as error:
        say(f"{name}: {error}")
        return False
    except KeyboardInterrupt:
        say("\ninterrupted; the same command continues from here")
        raise SystemExit(130) from None
    click.echo("\n".join(("", *outcome.lines)))
    click.echo(f"{name}: {outcome.failures} failed samples; the results are in {outcome.file}")
    return outcome.failures == 0


if __name__ == "__main__":
    run_cli(main)
