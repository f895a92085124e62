"""The split of a run's time, on runs and journals written out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ecommerce_pipeline.interval_run import IntervalRun, StepRun
from ecommerce_pipeline.storage.journal import JournalEntry
from measuring.timeline import Split, covered_seconds, split

MIDNIGHT = datetime(2025, 1, 2, tzinfo=UTC)


def _at(seconds: float) -> datetime:
    return MIDNIGHT + timedelta(seconds=seconds)


def _run(*steps: tuple[str, float, float]) -> IntervalRun:
    reported = tuple(
        StepRun(name, "success", "success", 1, _at(start), _at(end)) for name, start, end in steps
    )
    return IntervalRun("2025-01-01", "run", "success", "success", _at(0), _at(99), reported)


def _entry(step: str, start: float, end: float) -> JournalEntry:
    return JournalEntry("2025-01-01", step, _at(start), _at(end), "success")


def test_one_step_after_the_other() -> None:
    """Between steps is waiting, around a journal's attempt is starting, within it running."""
    run = _run(("load_raw", 2, 6), ("publish", 7, 10))
    entries = [_entry("load_raw", 3, 5), _entry("publish", 8, 9.5)]
    parts = split((_at(0), _at(12)), [run], entries)
    assert parts == Split(waiting=2 + 1 + 2, starting=1 + 1 + 1 + 0.5, running=2 + 1.5)


def test_steps_side_by_side() -> None:
    """Two steps at once count once, and a step that starts while another runs costs no start."""
    run = _run(("extract_orders", 0, 5), ("extract_products", 0, 9))
    entries = [_entry("extract_orders", 1, 4), _entry("extract_products", 2, 8)]
    parts = split((_at(0), _at(9)), [run], entries)
    assert parts == Split(waiting=0, starting=1 + 1, running=7)


def test_several_runs() -> None:
    """In a backfill the time between two runs is waiting."""
    runs = [_run(("publish", 0, 2)), _run(("publish", 5, 8))]
    parts = split((_at(0), _at(8)), runs, [_entry("publish", 0, 2), _entry("publish", 5, 8)])
    assert parts == Split(waiting=3, starting=0, running=5)


def test_steps_that_do_nothing() -> None:
    """Without a journal all that the tool reports of its steps is starting."""
    assert split((_at(0), _at(5)), [_run(("publish", 1, 4))], []) == Split(2, 3, 0)


def test_parts_add_up() -> None:
    """The three parts add up to the whole time also where only the journal has an attempt."""
    run = _run(("publish", 6, 7))
    parts = split((_at(0), _at(9)), [run], [_entry("publish", 1, 2), _entry("publish", 6.5, 7.5)])
    assert parts.waiting + parts.starting + parts.running == 9
    assert parts.running == 2


def test_time_outside_does_not_count() -> None:
    """What lies before the trigger or after the end is cut off."""
    assert covered_seconds([(_at(-5), _at(1)), (_at(8), _at(20))], (_at(0), _at(10))) == 3
