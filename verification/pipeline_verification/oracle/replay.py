"""Replays a history: the loaded rows and the customers' versions after it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pandas as pd

from ecommerce_pipeline.contract import TABLE_BY_NAME, TABLES
from ecommerce_pipeline.interval import DataInterval
from pipeline_verification.oracle.history import Event, SourceAdvanced
from pipeline_verification.oracle.snapshot import CustomerVersions
from pipeline_verification.oracle.source_state import Frames, SourceState, empty_frame

Key = tuple[object, ...]


@dataclass(slots=True)
class Replay:
    """The state of the warehouse before any mart.

    Attributes:
        raw: the contract's tables; for each key the row with the newest ``updated_at``, of two with
            the same the one that was extracted last.
        loaded: the number of rows of each interval's latest extraction, by table and interval.
        newest: the newest interval; None before the first run.
        deleted_keys: by table, the keys of ``raw`` that the source lacked at the newest interval's
            latest extraction, and that no older interval's later extraction has found.
        customer_versions: the snapshot.
    """

    raw: Frames = field(default_factory=lambda: {t.name: empty_frame(t) for t in TABLES})
    loaded: dict[tuple[str, DataInterval], int] = field(default_factory=dict)
    newest: DataInterval | None = None
    deleted_keys: dict[str, set[Key]] = field(
        default_factory=lambda: {t.name: set() for t in TABLES}
    )
    customer_versions: CustomerVersions = field(default_factory=CustomerVersions)

    def present(self, table: str) -> pd.DataFrame:
        """The loaded rows that the source has not deleted."""
        return self.raw[table][~self._is_deleted(table)]

    def deleted(self, table: str) -> pd.DataFrame:
        """The loaded rows that the source has deleted."""
        return self.raw[table][self._is_deleted(table)]

    def _is_deleted(self, table: str) -> pd.Series[bool]:
        rows = self.raw[table]
        deleted = [key in self.deleted_keys[table] for key in _keys(table, rows)]
        return pd.Series(deleted, index=rows.index, dtype=bool)


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
    # An older interval that runs late must not replace what the newest one has seen.
    newest = replayed.newest or interval
    is_newest = interval.end >= newest.end
    newest = max(newest, interval, key=lambda each: (each.end, each.start))
    replayed.newest = newest
    for table in TABLES:
        rows = source.rows(table.name, interval)
        replayed.loaded[table.name, interval] = len(rows)
        replayed.raw[table.name] = _last_writer_wins(table.name, replayed.raw[table.name], rows)
        if is_newest:
            loaded = set(_keys(table.name, replayed.raw[table.name]))
            replayed.deleted_keys[table.name] = loaded - set(
                _keys(table.name, source.table(table.name))
            )
        else:
            replayed.deleted_keys[table.name] -= set(_keys(table.name, rows))
    replayed.customer_versions.record(replayed.present("customers"), newest)


def _keys(table: str, rows: pd.DataFrame) -> Iterator[Key]:
    return zip(*(rows[name] for name in TABLE_BY_NAME[table].key), strict=True)


def _last_writer_wins(table: str, before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    both = pd.concat([before, rows], ignore_index=True)
    # A stable sort keeps the later extraction last among rows with the same updated_at.
    newest_last = both.sort_values("updated_at", kind="stable")
    return newest_last.drop_duplicates(list(TABLE_BY_NAME[table].key), keep="last")
