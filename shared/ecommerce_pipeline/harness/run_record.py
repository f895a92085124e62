"""The run record, ``run.json``: the runs and their steps as the tool's own API reports them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.interval_run import RUNNING, IntervalRun, to_json

SCHEMA_VERSION = 1


@dataclass(slots=True)
class RunRecord:
    """The record of a run; from ``history`` the oracle can compute every table.

    Attributes:
        variant: ``airflow``, ``dagster``, ``prefect``, ``cron`` or a further one.
        versions: the versions of Python and of the packages that matter.
        dataset: ``{"name": …, "options": {…}}``; the name is ``none`` for an existing database.
        source: the kind of source database, or its URL without the password.
        mode: ``daily`` or ``backfill``.
        history: in order, ``{"advance": DAY}`` and ``{"interval": INTERVAL, "state": …}``.
        intervals: the runs, in the order in which they were triggered.
        started_at: when the driver began, UTC.
        ended_at: when it ended, UTC; None while it runs.
        state: ``success``, ``failed`` or ``running``.
    """

    variant: str
    versions: Mapping[str, str]
    dataset: Mapping[str, Any]
    source: str
    mode: str
    started_at: datetime
    history: list[dict[str, str]] = field(default_factory=list)
    intervals: list[IntervalRun] = field(default_factory=list)
    ended_at: datetime | None = None
    state: str = RUNNING

    def write(self, path: Path) -> None:
        """Replace the file atomically.

        Raises:
            jsonschema.ValidationError: the record breaks ``run.schema.json``; no file changes.
        """
        values = {"schema_version": SCHEMA_VERSION, **to_json(self)}
        # A tool reports its states in its own words: one that a variant does not translate is an
        # error here, not in a reader of the file.
        jsonschema.validate(values, schema())
        with atomic_file(path, point="record") as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n")


def read(path: Path) -> dict[str, Any]:
    """The record's values, validated by ``run.schema.json``.

    Raises:
        PipelineError: there is no such file, or it is not a run record.
    """
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        jsonschema.validate(values, schema())
    except FileNotFoundError:
        raise PipelineError(
            f"there is no run record {path}", "run a variant there first, or name another folder"
        ) from None
    except (ValueError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else error
        raise PipelineError(
            f"{path} is not a run record: {reason}", "run the variant again"
        ) from None
    return values


def schema() -> dict[str, Any]:
    """The published JSON schema of ``run.json``."""
    text = resources.files("ecommerce_pipeline.harness").joinpath("run.schema.json").read_text()
    values: dict[str, Any] = json.loads(text)
    return values
