"""The protocol that each variant's ``run.py`` implements; the driver knows no tool by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, TypeVar

from ecommerce_pipeline import step_server
from ecommerce_pipeline.context import DEFAULT_MAX_STALENESS, StepContext
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.record import IntervalRun
from ecommerce_pipeline.run_directory import RunDirectory

PIPELINE, NO_OP = "pipeline", "noop"


@dataclass(frozen=True, slots=True)
class VariantSettings:
    """What a variant is started with. URLs may hold credentials and are left out of ``repr``."""

    run: RunDirectory
    source_url: str = field(repr=False)
    slack_webhook_url: str | None = field(default=None, repr=False)
    max_staleness: timedelta = DEFAULT_MAX_STALENESS

    def context(self, interval: DataInterval) -> StepContext:
        """The step context of one interval."""
        return StepContext(
            run=self.run,
            interval=interval,
            source_url=self.source_url,
            max_staleness=self.max_staleness,
            slack_webhook_url=self.slack_webhook_url,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The same settings as ``StepContext.from_environment`` reads them."""
        environment = {
            "PIPELINE_RUN_DIR": str(self.run.path),
            "PIPELINE_SOURCE_URL": self.source_url,
            "PIPELINE_MAX_STALENESS_HOURS": str(self.max_staleness / timedelta(hours=1)),
        }
        if self.slack_webhook_url:
            environment["PIPELINE_SLACK_WEBHOOK_URL"] = self.slack_webhook_url
        return environment


class Variant(Protocol):
    """One way to run the pipeline; ``VARIANT`` of its ``run.py`` makes it.

    ``VARIANT()`` runs ``pipeline.py``; ``VARIANT(NO_OP)`` runs ``noop.py``, which has as many
    steps in the same order that do nothing.

    Attributes:
        name: the folder's name without ``_impl``.
        packages: the distributions whose versions belong in the run record.
    """

    name: str
    packages: Sequence[str]

    def start(self, settings: VariantSettings) -> None:
        """Start the tool's services on loopback and wait until they are healthy."""

    def run_interval(self, interval: DataInterval) -> IntervalRun:
        """Trigger one interval through the tool's own API and wait for its end."""

    def backfill(self, intervals: Sequence[DataInterval]) -> list[IntervalRun]:
        """Run the tool's own backfill over the intervals and wait for its end."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where the running tool's pages are, by their titles; empty where it has none."""

    def stop(self) -> None:
        """Stop everything that ``start`` started; also after a failed start."""


V = TypeVar("V", bound=Variant)


@contextmanager
def started(
    variant: V, settings: VariantSettings, say: Callable[[str], None] = lambda line: None
) -> Iterator[V]:
    """Start the variant for the block and stop it whatever happens, a failed start included.

    Args:
        variant: the variant, not started yet.
        settings: what it is started with.
        say: told before it starts and before it stops.
    """
    try:
        say(f"{variant.name}: starting")
        variant.start(settings)
        yield variant
    finally:
        say(f"{variant.name}: stopping")
        variant.stop()


@contextmanager
def shared_step_server(pipeline: str) -> Iterator[dict[str, str]]:
    """Run a step server for the block; yield the environment by which steps find it.

    Steps that do nothing need none: for ``NO_OP`` the environment is empty.
    """
    if pipeline == NO_OP:
        yield {}
        return
    with step_server.running() as address:
        yield {step_server.ENVIRONMENT_VARIABLE: str(address)}
