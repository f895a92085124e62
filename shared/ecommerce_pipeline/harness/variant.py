"""The protocol that each variant's ``run.py`` implements; the driver knows no tool by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.interval_run import IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory

NATIVE, STEP_SERVER, NO_OP = "native", "step-server", "noop"
_FILES = {NATIVE: "pipeline.py", NO_OP: "noop.py"}


class Variant(Protocol):
    """The pipeline under one tool; ``VARIANT`` in its ``run.py`` creates it.

    ``VARIANT(form)`` runs ``pipeline_file(folder, form)``; the default is ``NATIVE``.

    Attributes:
        name: the folder's name without ``_impl``.
        form: one of ``forms(folder)``, or ``NO_OP``.
        packages: the distributions whose versions belong in the run record.
    """

    name: str
    form: str
    packages: Sequence[str]

    def start(self, settings: RunSettings) -> None:
        """Start the tool's services on loopback and wait until they are healthy."""

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Trigger one interval through the tool's own API and wait for its end."""

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Run the tool's own backfill over the intervals and wait for its end."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """The URLs of the running tool's pages by title; empty when it has none."""

    def stop(self) -> None:
        """Stop everything that ``start`` started; also after a failed start."""


def pipeline_file(folder: Path, form: str) -> Path:
    """The file of a variant's folder that has the pipeline in a form.

    ``NATIVE`` is ``pipeline.py``: the tool's own executor and its official dbt integration.
    ``STEP_SERVER`` is ``pipeline_step_server.py``: each step is a child of our warm step server.
    ``NO_OP`` is ``noop.py``: the same steps in the same order, all of which do nothing. Another
    form, such as ``per-model``, is ``pipeline_per_model.py``.

    Raises:
        PipelineError: the folder has no such file.
    """
    file = folder / _FILES.get(form, f"pipeline_{form.replace('-', '_')}.py")
    if not file.exists():
        raise PipelineError(
            f"{folder.name} has no form {form!r}", f"choose from {', '.join(forms(folder))}"
        )
    return file


def name_in_form(name: str, form: str) -> str:
    """A result's name for a form: ``NAME`` for the native one, else ``NAME-FORM``."""
    return name if form == NATIVE else f"{name}-{form}"


def forms(folder: Path) -> list[str]:
    """The forms of the pipeline that a variant's folder has, ``NATIVE`` first."""
    others = sorted(folder.glob("pipeline_*.py"))
    names = [file.stem.removeprefix("pipeline_").replace("_", "-") for file in others]
    return [NATIVE, *names] if (folder / _FILES[NATIVE]).exists() else names


V = TypeVar("V", bound=Variant)


@contextmanager
def started(
    variant: V, settings: RunSettings, say: Callable[[str], None] = lambda line: None
) -> Iterator[V]:
    """Start the variant for the block, and always stop it, also after a failed start.

    Args:
        variant: the variant, not started yet.
        settings: the settings of the run.
        say: called with a line before the start and before the stop.
    """
    try:
        say(f"{variant.name}: starting")
        variant.start(settings)
        yield variant
    finally:
        say(f"{variant.name}: stopping")
        variant.stop()


def check_path(run: RunDirectory, tool: str, refused: str, taken_for: str) -> None:
    """Refuse a folder that the tool would not find, because it reads the path as something else.

    Args:
        run: the run's folder.
        tool: the tool's name, for the message.
        refused: a regular expression of what the path must not contain.
        taken_for: what the tool takes it for.

    Raises:
        PipelineError: the path contains it.
    """
    if found := re.search(refused, str(run.path)):
        raise PipelineError(
            f"{tool} would take {found[0]} in the run's folder {run.path} for {taken_for}",
            "name a folder without it with --run-dir",
        )


@contextmanager
def shared_step_server(form: str) -> Iterator[dict[str, str]]:
    """Run a step server for the block; yield the environment variable that names it.

    For another form than ``STEP_SERVER`` no server runs, and the environment is empty.
    """
    if form != STEP_SERVER:
        yield {}
        return
    with step_server.running() as address:
        yield {step_server.ENVIRONMENT_VARIABLE: str(address)}
