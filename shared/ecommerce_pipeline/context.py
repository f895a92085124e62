"""What a step is told: where its run lies, which interval, which source, where to notify."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory

DEFAULT_MAX_STALENESS = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class StepContext:
    """The arguments of every step. URLs may hold credentials and are left out of ``repr``.

    Attributes:
        run: the run's folder.
        interval: the data interval to process.
        source_url: the source database, ``sqlite:///PATH`` or ``postgresql://…``.
        max_staleness: how old the newest source row may be at the interval's end.
        slack_webhook_url: where notifications go; None appends them to ``notifications.jsonl``.
    """

    run: RunDirectory
    interval: DataInterval
    source_url: str = field(repr=False)
    max_staleness: timedelta = DEFAULT_MAX_STALENESS
    slack_webhook_url: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(
        cls, interval: DataInterval, environment: Mapping[str, str] = os.environ
    ) -> StepContext:
        """Read the settings that every variant passes by environment.

        ``PIPELINE_RUN_DIR`` (required), ``PIPELINE_SOURCE_URL`` (default: the run folder's
        ``source.db``), ``PIPELINE_MAX_STALENESS_HOURS`` and ``PIPELINE_SLACK_WEBHOOK_URL``.

        Raises:
            PipelineError: a setting is missing or malformed.
        """
        run = RunDirectory(Path(_required(environment, "PIPELINE_RUN_DIR")))
        return cls(
            run=run,
            interval=interval,
            source_url=environment.get("PIPELINE_SOURCE_URL") or f"sqlite:///{run.source_file}",
            max_staleness=_max_staleness(environment),
            slack_webhook_url=environment.get("PIPELINE_SLACK_WEBHOOK_URL") or None,
        )

    def to_json(self) -> dict[str, Any]:
        """The context as JSON values, credentials included: for pipes, never for files."""
        return {
            "run_dir": str(self.run.path),
            "interval": str(self.interval),
            "source_url": self.source_url,
            "max_staleness_seconds": self.max_staleness.total_seconds(),
            "slack_webhook_url": self.slack_webhook_url,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StepContext:
        """The inverse of ``to_json``."""
        return cls(
            run=RunDirectory(Path(values["run_dir"])),
            interval=DataInterval.parse(values["interval"]),
            source_url=values["source_url"],
            max_staleness=timedelta(seconds=values["max_staleness_seconds"]),
            slack_webhook_url=values["slack_webhook_url"],
        )


def _required(environment: Mapping[str, str], name: str) -> str:
    try:
        return environment[name]
    except KeyError:
        raise PipelineError(f"{name} is not set", "set it to the run's folder") from None


def _max_staleness(environment: Mapping[str, str]) -> timedelta:
    text = environment.get("PIPELINE_MAX_STALENESS_HOURS")
    if text is None:
        return DEFAULT_MAX_STALENESS
    try:
        hours = float(text)
        if not 0 < hours < 1_000_000:
            raise ValueError(text)
    except ValueError:
        raise PipelineError(
            f"PIPELINE_MAX_STALENESS_HOURS={text!r} is not a number of hours above zero",
            "set it to one, such as 48",
        ) from None
    return timedelta(hours=hours)
