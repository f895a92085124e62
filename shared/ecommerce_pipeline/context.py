"""The settings of a run, and what a step is given: the same settings for one data interval."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory

DEFAULT_MAX_STALENESS = timedelta(hours=48)
DEFAULT_MAX_KEY_LOSS = 0.5
DEFAULT_KEY_SNAPSHOT_ROWS = 1_000_000
MAX_LOOKBACK = 1_000


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What is the same for every interval of a run.

    URLs may contain credentials and are left out of ``repr``.

    Attributes:
        run: the run's folder.
        source_url: the source database, ``sqlite:///PATH`` or ``postgresql://…``.
        max_staleness: how old the newest source row may be at an interval's end.
        slack_webhook_url: where notifications go; None appends them to ``notifications.jsonl``.
        lookback: how many earlier intervals are extracted again with each one, for rows that the
            source committed late.
        max_key_loss: the share of a table's keys, from 0 to 1, that may disappear from the source
            in one interval; more is refused.
        key_snapshot_rows: the keys of a table with more rows than this are not read whole; its
            deleted rows are found by counting.
    """

    run: RunDirectory
    source_url: str = field(repr=False)
    max_staleness: timedelta = DEFAULT_MAX_STALENESS
    slack_webhook_url: str | None = field(default=None, repr=False)
    lookback: int = 0
    max_key_loss: float = DEFAULT_MAX_KEY_LOSS
    key_snapshot_rows: int = DEFAULT_KEY_SNAPSHOT_ROWS

    def context(self, interval: DataInterval) -> StepContext:
        """What the steps of one interval are given."""
        return StepContext(interval=interval, **_values(self))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> RunSettings:
        """Read the settings that a variant passes by environment.

        ``PIPELINE_RUN_DIR`` (required), ``PIPELINE_SOURCE_URL`` (default: the run folder's
        ``source.db``), ``PIPELINE_MAX_STALENESS_HOURS``, ``PIPELINE_SLACK_WEBHOOK_URL``,
        ``PIPELINE_LOOKBACK``, ``PIPELINE_MAX_KEY_LOSS`` and ``PIPELINE_KEY_SNAPSHOT_ROWS``.

        Raises:
            PipelineError: a setting is missing or malformed.
        """
        run = RunDirectory(Path(_required(environment, "PIPELINE_RUN_DIR")))
        return cls(
            run=run,
            source_url=environment.get("PIPELINE_SOURCE_URL") or f"sqlite:///{run.source_file}",
            max_staleness=_max_staleness(environment),
            slack_webhook_url=environment.get("PIPELINE_SLACK_WEBHOOK_URL") or None,
            lookback=_whole_number(environment, "PIPELINE_LOOKBACK", 0, MAX_LOOKBACK),
            max_key_loss=_max_key_loss(environment),
            key_snapshot_rows=_whole_number(
                environment, "PIPELINE_KEY_SNAPSHOT_ROWS", DEFAULT_KEY_SNAPSHOT_ROWS
            ),
        )

    def to_environment(self) -> dict[str, str]:
        """The inverse of ``from_environment``."""
        environment = {
            "PIPELINE_RUN_DIR": str(self.run.path),
            "PIPELINE_SOURCE_URL": self.source_url,
            "PIPELINE_MAX_STALENESS_HOURS": str(self.max_staleness / timedelta(hours=1)),
            "PIPELINE_LOOKBACK": str(self.lookback),
            "PIPELINE_MAX_KEY_LOSS": str(self.max_key_loss),
            "PIPELINE_KEY_SNAPSHOT_ROWS": str(self.key_snapshot_rows),
        }
        if self.slack_webhook_url:
            environment["PIPELINE_SLACK_WEBHOOK_URL"] = self.slack_webhook_url
        return environment

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values, credentials included: for pipes, never for files."""
        return {
            "run_dir": str(self.run.path),
            "source_url": self.source_url,
            "max_staleness_seconds": self.max_staleness.total_seconds(),
            "slack_webhook_url": self.slack_webhook_url,
            "lookback": self.lookback,
            "max_key_loss": self.max_key_loss,
            "key_snapshot_rows": self.key_snapshot_rows,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunSettings:
        """The inverse of ``to_json``."""
        return cls(
            run=RunDirectory(Path(values["run_dir"])),
            source_url=values["source_url"],
            max_staleness=timedelta(seconds=values["max_staleness_seconds"]),
            slack_webhook_url=values["slack_webhook_url"],
            lookback=values["lookback"],
            max_key_loss=values["max_key_loss"],
            key_snapshot_rows=values["key_snapshot_rows"],
        )


@dataclass(frozen=True, slots=True)
class StepContext:
    """The arguments of every step: the run's settings, and the data interval to process."""

    run: RunDirectory
    interval: DataInterval
    source_url: str = field(repr=False)
    max_staleness: timedelta = DEFAULT_MAX_STALENESS
    slack_webhook_url: str | None = field(default=None, repr=False)
    lookback: int = 0
    max_key_loss: float = DEFAULT_MAX_KEY_LOSS
    key_snapshot_rows: int = DEFAULT_KEY_SNAPSHOT_ROWS

    @property
    def settings(self) -> RunSettings:
        """The part that is the same for every interval."""
        return RunSettings(**_values(self))

    @classmethod
    def from_environment(
        cls, interval: DataInterval, environment: Mapping[str, str] = os.environ
    ) -> StepContext:
        """The context of an interval under the settings that ``RunSettings`` reads.

        Raises:
            PipelineError: a setting is missing or malformed.
        """
        return RunSettings.from_environment(environment).context(interval)

    def to_json(self) -> dict[str, Any]:
        """As ``RunSettings.to_json``, with the interval."""
        return {**self.settings.to_json(), "interval": str(self.interval)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> StepContext:
        """The inverse of ``to_json``."""
        return RunSettings.from_json(values).context(DataInterval.parse(values["interval"]))


def _values(settings: RunSettings | StepContext) -> dict[str, Any]:
    """The fields that both classes have, by name."""
    return {each.name: getattr(settings, each.name) for each in fields(RunSettings)}


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:  # an empty path would be the working directory
        raise PipelineError(f"{name} is not set", "set it to the run's folder")
    return value


def _max_staleness(environment: Mapping[str, str]) -> timedelta:
    text = environment.get("PIPELINE_MAX_STALENESS_HOURS")
    if text is None:
        return DEFAULT_MAX_STALENESS
    try:
        hours = float(text)
        # Also refuses NaN, for which no comparison is true, and what a timedelta cannot hold.
        if not 0 < hours < 1_000_000:
            raise ValueError(text)
    except ValueError:
        raise PipelineError(
            f"PIPELINE_MAX_STALENESS_HOURS={text!r} is not a number of hours above zero",
            "set it to one, such as 48",
        ) from None
    return timedelta(hours=hours)


def _max_key_loss(environment: Mapping[str, str]) -> float:
    text = environment.get("PIPELINE_MAX_KEY_LOSS")
    if text is None:
        return DEFAULT_MAX_KEY_LOSS
    try:
        share = float(text)
        if not 0 <= share <= 1:  # also false for NaN
            raise ValueError(text)
    except ValueError:
        raise PipelineError(
            f"PIPELINE_MAX_KEY_LOSS={text!r} is not a share from 0 to 1",
            "set it to one, such as 0.5; 1 allows any loss",
        ) from None
    return share


def _whole_number(
    environment: Mapping[str, str], name: str, default: int, highest: int = 10**18
) -> int:
    text = environment.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= highest):
        raise PipelineError(
            f"{name}={text!r} is not a whole number from 0 to {highest}",
            f"set it to one, such as {default}",
        )
    return int(text)
