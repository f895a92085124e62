"""The command ``ecommerce-pipeline``: a source database, one step by hand, a step server."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import click

from ecommerce_pipeline import source as source_database
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.datasets import (
    DATASET_NAMES,
    Dataset,
    advance,
    load_dataset,
    recorded_dataset,
    reset_source,
)
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.processes import exit_on_sigterm
from ecommerce_pipeline.execution.step_client import run_step
from ecommerce_pipeline.harness.command_line import run_cli
from ecommerce_pipeline.interval import DataInterval, parse_day
from ecommerce_pipeline.specification import STEP_NAMES


@click.group()
def cli() -> None:
    """Make and fill a source database, run one step by hand, or keep a step server up."""


@cli.group()
def source() -> None:
    """Make and fill a source database; URL is sqlite:////PATH or postgresql://…"""


@source.command()
@click.argument("url")
def create(url: str) -> None:
    """Make the five tables with their indexes, empty; only a data set's rows are replaced."""
    with closing(source_database.connect(url)) as database:
        reset_source(database)
    click.echo(f"created the tables in {source_database.redact(url)}")


@source.command()
@click.argument("url")
@click.option("--dataset", type=click.Choice(DATASET_NAMES), default="synthetic")
@click.option("--scale", type=click.IntRange(min=1), default=1)
@click.option("--seed", type=click.IntRange(min=1), default=1)
def load(url: str, dataset: str, scale: int, seed: int) -> None:
    """Load a data set's first day, which brings the initial rows."""
    chosen = load_dataset(dataset, scale=scale, seed=seed)
    _advance(url, lambda database: chosen, chosen.first_day)


@source.command("advance")
@click.argument("url")
@click.option("--to", "to_day", required=True, help="The last UTC day to apply.")
def advance_command(url: str, to_day: str) -> None:
    """Apply the data set's further days up to and including --to."""
    _advance(url, recorded_dataset, parse_day(to_day))


@cli.command("run-step")
@click.argument("step", type=click.Choice(STEP_NAMES))
@click.argument("interval")
def run_step_command(step: str, interval: str) -> None:
    """Run STEP for INTERVAL (2025-01-31 or START/END), set up by PIPELINE_* variables."""
    result = run_step(step, StepContext.from_environment(DataInterval.parse(interval)))
    click.echo(json.dumps(result.to_json()))


@cli.command("serve-steps")
@click.argument("address", type=click.Path(path_type=Path))
def serve_steps(address: Path) -> None:
    """Keep a step server up at the socket ADDRESS until Ctrl+C or SIGTERM.

    Tasks whose environment has PIPELINE_STEP_SERVER=ADDRESS run their steps there, with dbt
    imported; without it each process that runs steps starts a server of its own.
    """
    exit_on_sigterm()
    with step_server.serving(address.absolute()) as supervisor:
        click.echo(f"{step_server.ENVIRONMENT_VARIABLE}={address.absolute()}")
        with suppress(KeyboardInterrupt):
            supervisor.watch_until_given_up()


def _advance(
    url: str, dataset_of: Callable[[source_database.Source], Dataset], to_day: date
) -> None:
    with closing(source_database.connect(url)) as database:
        reached = advance(
            database, dataset_of(database), to_day, lambda day: click.echo(f"{day}  advanced")
        )
    click.echo(f"the source has reached the end of {reached}")


def main() -> None:
    """Run the command; a user's mistake ends in one line."""
    run_cli(cli)
