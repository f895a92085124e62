"""The step journal and the files of JSON lines that it is kept in."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files import json_lines
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.storage import journal
from ecommerce_pipeline.storage.journal import JournalEntry
from support.small_warehouse import INTERVAL, moment


def entry(step: str, minute: int, seconds: int = 1, outcome: str = "success") -> JournalEntry:
    """An attempt of a step that began at that minute."""
    started = moment(4, 1, minute)
    ended = started + timedelta(seconds=seconds)
    return JournalEntry(str(INTERVAL), step, started, ended, outcome)


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    """An entry is read back equal, times in UTC and the process included."""
    run = RunDirectory(tmp_path)
    written = JournalEntry(
        interval=str(INTERVAL),
        step="load_raw",
        started_at=moment(4, 1),
        ended_at=moment(4, 1, 0, 2),
        outcome="failed",
        rows={"orders": 3},
        details={"error": "line\nbreak 🚀 \u2028", "seconds": 0.5},
    )
    journal.append(run, written)
    assert journal.read(run, INTERVAL) == [written]
    assert (written.attempt_pid, written.seconds) == (os.getpid(), 2.0)


def test_only_the_intervals_own_entries_are_read(tmp_path: Path) -> None:
    """Reading an interval leaves out every other; a run without a journal has no entries."""
    run = RunDirectory(tmp_path)
    assert journal.read(run, INTERVAL) == []
    journal.append(run, entry("publish", 0))
    assert journal.read(run, "2025-01-02T00:00:00Z/2025-01-03T00:00:00Z") == []
    assert len(journal.read(run, str(INTERVAL))) == 1


def test_a_run_again_hides_the_run_before() -> None:
    """Only what succeeded since the first step last began counts, the last attempt of each step."""
    entries = [
        entry("check_source_freshness", 1),
        entry("load_raw", 2, 90),
        entry("publish", 4),
        entry("check_source_freshness", 30),
        entry("load_raw", 31, outcome="failed"),
        entry("load_raw", 33, 5),
    ]
    latest = journal.latest_run(entries)
    assert [(e.step, e.started_at.minute) for e in latest] == [
        ("check_source_freshness", 30),
        ("load_raw", 33),
    ]
    assert journal.elapsed_seconds(latest) == 185.0
    assert journal.elapsed_seconds([]) is None


def test_a_failed_attempt_is_not_the_latest_run_of_a_step() -> None:
    """A step that failed in the newest run is not in it, also where it succeeded before."""
    entries = [
        entry("check_source_freshness", 0),
        entry("load_raw", 1),
        entry("check_source_freshness", 30),
        entry("load_raw", 31, outcome="failed"),
    ]
    assert [e.step for e in journal.latest_run(entries)] == ["check_source_freshness"]


@given(whole=st.lists(st.dictionaries(st.text(), st.text())), cut=st.integers(0, 60))
def test_a_torn_line_costs_only_itself(
    tmp_path_factory: pytest.TempPathFactory, whole: list[dict[str, str]], cut: int
) -> None:
    """However much of a line a killed writer wrote, the lines before and after it are read."""
    path = tmp_path_factory.mktemp("lines") / "lines.jsonl"
    for value in whole:
        json_lines.append(path, value)
    torn = b'{"key": "a value that is longer than the longest cut of it there is"}'[:cut]
    with path.open("ab") as file:
        file.write(torn)
    json_lines.append(path, {"after": "it"})
    assert list(json_lines.read(path)) == [*whole, {"after": "it"}]


def test_writers_at_once_keep_apart(tmp_path: Path) -> None:
    """Lines that several writers append at once are all whole."""
    path = tmp_path / "lines.jsonl"

    def write(name: str) -> None:
        for number in range(50):
            json_lines.append(path, {"writer": name, "number": number, "text": name * 500})

    writers = [threading.Thread(target=write, args=[name]) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [(line["writer"], line["number"]) for line in json_lines.read(path)]
    assert sorted(lines) == [(name, number) for name in "abc" for number in range(50)]


def test_only_the_last_attempts_of_this_run_have_failed() -> None:
    """An earlier run's failure, and one that a retry made good, are no reason of this run."""
    attempts = [
        entry("publish", 0, outcome="failed"),
        entry("load_raw", 5, outcome="failed"),
        entry("load_raw", 6),
        entry("extract_orders", 7, outcome="failed"),
    ]
    assert journal.failed_steps(attempts, since=moment(4, 1, 5)) == {"extract_orders": ""}


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """On a full disk the error names the journal and can be tried again."""
    run = RunDirectory(tmp_path)
    run.step_journal.parent.mkdir()
    run.step_journal.symlink_to("/dev/full")
    with pytest.raises(PipelineError, match=r"steps\.jsonl cannot be written: No sp") as caught:
        journal.append(run, entry("load_raw", 0))
    assert caught.value.retryable


def test_a_line_that_is_no_entry_is_left_out(tmp_path: Path) -> None:
    """Lines that are whole JSON but no object, or nested too deeply, are skipped."""
    path = tmp_path / "lines.jsonl"
    path.write_text('1\n"a"\n' + "[" * 100_000 + '\n{"a": 1}\n')
    assert list(json_lines.read(path)) == [{"a": 1}]
