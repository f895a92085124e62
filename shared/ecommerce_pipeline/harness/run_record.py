"""The run record, ``run.json``: the runs and their steps as the tool's own API reports them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
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
_RUNNING = b'"state": "running"'
_FAILED = b'"state": "failed" '  # as long as the other, for a disk that is full


@dataclass(slots=True)
class RunRecord:
    """The record of a run; from ``history`` the oracle can compute every table.

    Attributes:
        variant: ``airflow``, ``dagster``, ``prefect``, ``cron`` or a further one.
        form: the form of the variant's pipeline, ``native`` or another.
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
    form: str
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
            PipelineError: the disk refuses; an earlier record no longer says ``running`` once the
                run has ended.
        """
        values = {"schema_version": SCHEMA_VERSION, **to_json(self)}
        # A tool reports its states in its own words: one that a variant does not translate is an
        # error here, not in a reader of the file.
        jsonschema.validate(values, schema())
        try:
            with atomic_file(path, point="record") as temporary:
                temporary.write_text(json.dumps(values, indent=2) + "\n")
        except OSError as error:
            if self.state != RUNNING:
                _mark_failed(path)
            raise PipelineError(
                f"the run record {path} cannot be written: {error.strerror or error}",
                "free disk space or make the folder writable, then run again with --resume",
            ) from error


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
    except OSError as error:
        raise PipelineError(
            f"the run record {path} cannot be read: {error.strerror or error}", "fix that"
        ) from None
    except (ValueError, RecursionError, jsonschema.ValidationError) as error:
        reason = error.message if isinstance(error, jsonschema.ValidationError) else error
        raise PipelineError(
            f"{path} is not a run record: {reason}", "run the variant again"
        ) from None
    return values


def _mark_failed(path: Path) -> None:
    """Change the state of a record that says ``running``, without a byte more on the disk."""
    with suppress(OSError):
        text = path.read_bytes()
        start = text.rfind(_RUNNING)
        if start != -1:
            with path.open("r+b") as file:
                file.seek(start)
                file.write(_FAILED)


def schema() -> dict[str, Any]:
    """The published JSON schema of ``run.json``."""
    text = resources.files("ecommerce_pipeline.harness").joinpath("run.schema.json").read_text()
    values: dict[str, Any] = json.loads(text)
    return values
