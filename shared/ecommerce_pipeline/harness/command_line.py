"""The command line of every variant's ``run.py``: the same options and exit codes for all."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from ecommerce_pipeline.context import MAX_LOOKBACK
from ecommerce_pipeline.datasets import DATASET_NAMES
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import use_stated_environment
from ecommerce_pipeline.execution.processes import exit_on_sigterm
from ecommerce_pipeline.files.permissions import PRIVATE_UMASK
from ecommerce_pipeline.harness.driver import BACKFILL, DAILY, NO_DATASET, RunOptions, drive
from ecommerce_pipeline.harness.progress import Progress
from ecommerce_pipeline.harness.variant import Variant, forms, pipeline_file
from ecommerce_pipeline.interval import parse_day
from ecommerce_pipeline.interval_run import SUCCESS
from ecommerce_pipeline.source import given_url

_DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


class FolderPath(click.Path):
    """A folder's path; an empty one, such as that of an unset shell variable, is refused."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """The path, which ``Path`` would take for the working directory where it is empty."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


def main(make_variant: Callable[[str], Variant], folder: Path) -> None:
    """Parse the command line, drive the variant, and exit: 0 success, 1 failure, 2 usage.

    Args:
        make_variant: makes the variant of a form.
        folder: the variant's folder, beside whose name ``runs/`` has the default folder of runs.
    """

    def run(options: RunOptions) -> None:
        use_stated_environment()
        os.umask(PRIVATE_UMASK)
        pipeline_file(folder, options.form)  # refused by name where there is none
        record = drive(make_variant(options.form), options, Progress())
        sys.exit(0 if record.state == SUCCESS else 1)

    default = folder.parent / "runs" / folder.name.removesuffix("_impl")
    run_cli(command_of(run, default, "The run's folder, emptied first.", forms(folder)))


def command_of(
    run: Callable[[RunOptions], None],
    default_run_dir: Path,
    run_dir_help: str,
    forms: Sequence[str],
) -> click.Command:
    """The command line whose options are those of a run.

    Args:
        run: called with the options.
        default_run_dir: the default of ``--run-dir``.
        run_dir_help: the help text of ``--run-dir``.
        forms: the choices of ``--form``; the first is the default.
    """

    @click.command(context_settings={"show_default": True})
    @click.option("--dataset", type=click.Choice([*DATASET_NAMES, NO_DATASET]), default="synthetic")
    @click.option(
        "--form",
        type=click.Choice(forms),
        default=forms[0],
        help="native: the tool's own executor and dbt integration; step-server: each step is a"
        " child of a warm process.",
    )
    @click.option("--scale", type=click.IntRange(min=1), default=1, help="Synthetic size.")
    @click.option("--seed", type=click.IntRange(min=1), default=1, help="Synthetic seed.")
    @click.option("--start", help="First day, YYYY-MM-DD.  [default: the data set's first]")
    @click.option("--days", type=click.IntRange(min=1), default=3, help="Daily intervals.")
    @click.option("--mode", type=click.Choice([DAILY, BACKFILL]), default=DAILY)
    @click.option(
        "--source",
        default="sqlite",
        help="sqlite, postgres, or a database URL; env reads the URL from PIPELINE_SOURCE_URL,"
        " @FILE from a file.",
    )
    @click.option(
        "--run-dir",
        type=FolderPath(path_type=Path, file_okay=False),
        default=default_run_dir,
        help=run_dir_help,
    )
    @click.option(
        "--lookback",
        type=click.IntRange(min=0, max=MAX_LOOKBACK),
        help="Earlier intervals to extract again with each one, for rows committed late."
        "  [default: PIPELINE_LOOKBACK, else 0]",
    )
    @click.option(
        "--max-key-loss",
        type=click.FloatRange(min=0, max=1),
        help="The share of a table's keys that may disappear in one interval."
        "  [default: PIPELINE_MAX_KEY_LOSS, else 0.5]",
    )
    @click.option("--keep-up", is_flag=True, help="Leave the tool's pages up until Ctrl+C.")
    @click.option("--resume", is_flag=True, help="Run in the folder what has not succeeded yet.")
    def command(start: str | None, source: str, **options: object) -> None:
        exit_on_sigterm()
        first = None if start is None else parse_day(start)
        run(RunOptions(start=first, source=given_url(source), **options))  # type: ignore[arg-type]  # click has checked their types

    return command


def run_cli(command: click.Command) -> None:
    """Run a click command; a ``PipelineError`` is printed as one line, with exit code 1.

    So is a disk that refuses, wherever that shows: full, read-only, or without the right to it.
    """
    try:
        command()
    except PipelineError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        if error.errno not in _DISK_REFUSES:
            raise
        where = f" {error.filename}" if error.filename else ""
        click.echo(f"error: the disk refuses{where}: {error.strerror}; correct that", err=True)
        sys.exit(1)
