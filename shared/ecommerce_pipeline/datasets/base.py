"""What every data set can do, and how its days are applied to a source database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Protocol

from ecommerce_pipeline.contract import TABLES
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DAY
from ecommerce_pipeline.source.base import Source, TableChanges


class Dataset(Protocol):
    """A deterministic history of the source: the same options give the same rows anywhere.

    Attributes:
        name: what ``--dataset`` calls it.
        options: what it was made with, such as seed and scale; part of its identity.
        first_day: the first UTC day with changes; it brings the initial rows.
        last_day: the last day with changes; None where there is no last.
    """

    name: str
    options: Mapping[str, int]
    first_day: date
    last_day: date | None

    def changes(self, day: date) -> Iterator[TableChanges]:
        """One day's changes, in blocks of bounded size; every ``updated_at`` lies in that day."""


def reset_source(source: Source) -> None:
    """Make the contract's tables, empty, replacing only tables that a data set filled before.

    Raises:
        PipelineError: the database has such a table that no data set filled.
    """
    foreign = {table.name for table in TABLES} & source.table_names()
    if foreign and not source.state():
        raise PipelineError(
            f"the database already has {', '.join(sorted(foreign))}, which no data set filled",
            "use it as it is with --dataset none, or name an empty database",
        )
    source.drop_tables()
    source.create_tables()


def advance(
    source: Source,
    dataset: Dataset,
    to_day: date,
    progress: Callable[[date], None] = lambda day: None,
) -> date:
    """Apply the days up to and including ``to_day`` that the source does not have yet.

    Each day is one transaction with the position, so that the call after a killed one continues.

    Args:
        source: an open source with the contract's tables.
        dataset: where the rows come from.
        to_day: the last UTC day to apply.
        progress: called with each day once it is committed.

    Returns:
        The last day that the source has: ``to_day``, or a later one that it had already.

    Raises:
        PipelineError: the source has another data set, or the data set ends before ``to_day``.
    """
    if dataset.last_day is not None and to_day > dataset.last_day:
        raise PipelineError(
            f"the data set {dataset.name} ends on {dataset.last_day}, before {to_day}",
            f"give days between {dataset.first_day} and {dataset.last_day}",
        )
    reached = _position(source, dataset)
    day = dataset.first_day if reached is None else reached + DAY
    while day <= to_day:
        with source.transaction():
            for changes in dataset.changes(day):
                source.apply(changes)
            source.set_state({**_identity(dataset), "advanced_to": day.isoformat()})
        progress(day)
        reached, day = day, day + DAY
    return reached if reached is not None else to_day


def _position(source: Source, dataset: Dataset) -> date | None:
    state = dict(source.state())
    if not state:
        return None
    reached = state.pop("advanced_to")
    if state != _identity(dataset):
        raise PipelineError(
            f"the source holds the data set {state['dataset']} {state['options']}, "
            f"not {dataset.name} {_identity(dataset)['options']}",
            "use another source, or create it again with: ecommerce-pipeline source create URL",
        )
    return date.fromisoformat(reached)


def _identity(dataset: Dataset) -> dict[str, str]:
    return {
        "dataset": dataset.name,
        "options": json.dumps(dict(dataset.options), sort_keys=True),
    }
