"""Replays a history: the loaded rows and the customers' versions after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES
from ecommerce_pipeline.interval import DataInterval
from pipeline_verification.oracle.history import Event, SourceAdvanced
from pipeline_verification.oracle.snapshot import CustomerVersions
from pipeline_verification.oracle.source_state import Frames, SourceState, empty_frame


@dataclass(slots=True)
class Replay:
    """The state of the warehouse before any mart.

    Attributes:
        raw: the contract's tables; for each key the row with the newest ``updated_at``.
        loaded: the number of rows of each interval's latest extraction, by table and interval.
        current_customer_keys: the customers' ids at the newest interval's latest extraction.
        customers_as_of: the newest interval; None before the first run.
        customer_versions: the snapshot.
    """

    raw: Frames = field(default_factory=lambda: {t.name: empty_frame(t) for t in TABLES})
    loaded: dict[tuple[str, DataInterval], int] = field(default_factory=dict)
    current_customer_keys: frozenset[int] = frozenset()
    customers_as_of: DataInterval | None = None
    customer_versions: CustomerVersions = field(default_factory=CustomerVersions)

    @property
    def customers(self) -> pd.DataFrame:
        """The loaded customers that the source still has."""
        loaded = self.raw["customers"]
        return loaded[loaded["id"].isin(list(self.current_customer_keys))]


def replay(source: SourceState, history: Sequence[Event]) -> Replay:
    """Apply the events in order to a source and an empty warehouse."""
    replayed = Replay()
    for event in history:
        if isinstance(event, SourceAdvanced):
            source.advance(event.to_day)
        else:
            _run(replayed, source, event.interval)
    return replayed


def _run(replayed: Replay, source: SourceState, interval: DataInterval) -> None:
    for table in TABLES:
        rows = source.rows(table.name, interval)
        replayed.loaded[table.name, interval] = len(rows)
        replayed.raw[table.name] = _last_writer_wins(table.name, replayed.raw[table.name], rows)
    newest = replayed.customers_as_of
    # An older interval that runs late must not replace the newer list of customers.
    if newest is None or interval.end >= newest.end:
        replayed.customers_as_of = interval
        replayed.current_customer_keys = frozenset(source.customer_ids())
    replayed.customer_versions.record(replayed.customers, interval.end)


def _last_writer_wins(table: str, before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    both = pd.concat([before, rows], ignore_index=True)
    # A stable sort keeps the later extraction last among rows with the same updated_at.
    newest_last = both.sort_values("updated_at", kind="stable")
    return newest_last.drop_duplicates(list(TABLE_BY_NAME[table].key), keep="last")
