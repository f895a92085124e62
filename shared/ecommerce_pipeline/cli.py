"""The command ``ecommerce-pipeline``: a source, one step by hand, a step server, readers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import date
from pathlib import Path

import click

from ecommerce_pipeline import maintenance
from ecommerce_pipeline import source as source_database
from ecommerce_pipeline.context import RunSettings, StepContext
from ecommerce_pipeline.datasets import (
    DATASET_NAMES,
    Dataset,
    advance,
    load_dataset,
    recorded_dataset,
    reset_source,
)
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.execution.environment import use_stated_environment
from ecommerce_pipeline.execution.processes import exit_on_sigterm
from ecommerce_pipeline.execution.step_client import run_step
from ecommerce_pipeline.files.permissions import PRIVATE_UMASK
from ecommerce_pipeline.harness.command_line import FolderPath, run_cli
from ecommerce_pipeline.interval import DataInterval, parse_day
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage.published import resolve


def _given_url(context: click.Context, parameter: click.Parameter, text: str) -> str:
    return source_database.given_url(text)


_url = click.argument("url", callback=_given_url)


@click.group()
def cli() -> None:
    """Make a source database, run one step, keep a step server up, find the published copy."""


@cli.group()
def source() -> None:
    """Make and fill a source database.

    URL is sqlite:////PATH or postgresql://…; env reads it from PIPELINE_SOURCE_URL, @FILE from a
    file, so that a password is not among the arguments.
    """


@source.command()
@_url
def create(url: str) -> None:
    """Make the five tables with their indexes, empty; only a data set's rows are replaced."""
    with closing(source_database.connect(url)) as database:
        reset_source(database)
    click.echo(f"created the tables in {source_database.redact(url)}")


@source.command()
@_url
@click.option("--dataset", type=click.Choice(DATASET_NAMES), default="synthetic")
@click.option("--scale", type=click.IntRange(min=1), default=1)
@click.option("--seed", type=click.IntRange(min=1), default=1)
def load(url: str, dataset: str, scale: int, seed: int) -> None:
    """Load a data set's first day, which brings the initial rows."""
    chosen = load_dataset(dataset, scale=scale, seed=seed)
    _advance(url, lambda database: chosen, chosen.first_day)


@source.command("advance")
@_url
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


_RUN_DIR = FolderPath(path_type=Path, file_okay=False)


@cli.command("rebuild-warehouse")
@click.argument("run_dir", type=_RUN_DIR)
def rebuild_warehouse(run_dir: Path) -> None:
    """Rebuild the lost warehouse of RUN_DIR from its landing files and its published history.

    What was published and is not in a landing file is extracted again from PIPELINE_SOURCE_URL.
    """
    newest = maintenance.rebuild_warehouse(_settings(run_dir), click.echo)
    click.echo(f"rebuilt the warehouse of {run_dir}; run {newest} again, or go on after it")


@cli.command()
@click.argument("run_dir", type=_RUN_DIR)
def resynchronize(run_dir: Path) -> None:
    """Find the rows that the source has deleted, also in tables too large for every run."""
    newest = maintenance.resynchronize(_settings(run_dir))
    click.echo(f"compared all keys; run {newest} again to publish the outcome")


def _settings(run_dir: Path) -> RunSettings:
    return RunSettings.from_environment({**os.environ, "PIPELINE_RUN_DIR": str(run_dir)})


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


@cli.command()
@click.argument("run_dir", type=_RUN_DIR)
def published(run_dir: Path) -> None:
    """Print the folder of the version that RUN_DIR/published leads to now.

    A reader of several files takes all of them from that folder, and none through the link, which
    the next publication replaces.
    """
    click.echo(resolve(RunDirectory(run_dir)))


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
    os.umask(PRIVATE_UMASK)
    use_stated_environment()
    run_cli(cli)
