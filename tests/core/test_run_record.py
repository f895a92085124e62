"""The run record: written whole, valid by its published schema, read back the same."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness import run_record
from ecommerce_pipeline.harness.run_record import RunRecord
from ecommerce_pipeline.interval_run import IntervalRun, StepRun, interval_run_from_json, to_json

NOON = datetime(2025, 1, 2, 12, tzinfo=UTC)
STEP = StepRun("load_raw", "success", "COMPLETED", 2, NOON, NOON, {"orders": 7})
INTERVAL_RUN = IntervalRun(
    interval="2025-01-01T00:00:00Z/2025-01-02T00:00:00Z",
    run_id="manual__1",
    state="failed",
    tool_state="Failed",
    started_at=NOON,
    ended_at=None,
    steps=(STEP, replace(STEP, name="publish", state="skipped", attempts=0, started_at=None)),
)


def a_record() -> RunRecord:
    return RunRecord(
        variant="cron",
        form="native",
        versions={"python": "3.11.7", "duckdb": "2.0.0", "dbt-core": "1.12.6"},
        dataset={"name": "synthetic", "options": {"seed": 1, "scale": 1}},
        source="sqlite",
        mode="daily",
        started_at=NOON,
        intervals=[INTERVAL_RUN],
    )


def test_a_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """What is written to run.json is read back the same, with times in UTC and the suffix Z."""
    a_record().write(tmp_path / "run.json")
    values = run_record.read(tmp_path / "run.json")
    assert values["started_at"] == "2025-01-02T12:00:00Z"
    assert values["intervals"][0]["steps"][0]["rows"] == {"orders": 7}
    assert interval_run_from_json(values["intervals"][0]) == INTERVAL_RUN


def test_an_invalid_record_is_never_written(tmp_path: Path) -> None:
    """A record that breaks the schema is refused and leaves the earlier file as it was."""
    path = tmp_path / "run.json"
    a_record().write(path)
    before = path.read_bytes()
    broken = a_record()
    broken.intervals = [replace(INTERVAL_RUN, state="perhaps")]
    with pytest.raises(jsonschema.ValidationError, match="perhaps"):
        broken.write(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_schema_itself_is_valid() -> None:
    """The published schema is a correct JSON schema of the draft that it names."""
    jsonschema.Draft202012Validator.check_schema(run_record.schema())


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 2}', "[1"])
def test_what_is_no_record_is_refused_by_name(tmp_path: Path, content: str) -> None:
    """A file that is no run record is refused by one line that names it."""
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(PipelineError, match=r"run\.json is not a run record") as caught:
        run_record.read(path)
    assert "\n" not in str(caught.value)


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    """Where there is no record, the line names the path and what to do."""
    with pytest.raises(PipelineError, match=r"there is no run record .*run a variant there first"):
        run_record.read(tmp_path / "run.json")


def test_the_json_form_holds_every_field() -> None:
    """No field of the record is left out of its JSON form."""
    values = to_json(a_record())
    assert json.loads(json.dumps(values)) == values
    assert set(values) | {"schema_version"} == set(run_record.schema()["required"])


def test_a_full_disk_is_one_line_and_the_record_says_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that cannot be written is named, and an earlier one no longer says running."""
    path = tmp_path / "run.json"
    a_record().write(path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_record, "atomic_file", refuse)
    for state, shown in (("running", "running"), ("success", "failed")):
        with pytest.raises(PipelineError, match=r"run\.json cannot be written: No space left"):
            replace(a_record(), state=state).write(path)
        values = run_record.read(path)
        assert (values["state"], values["intervals"][0]["state"]) == (shown, "failed")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b'{"a": ' * 50_000])
def test_a_record_that_cannot_be_parsed_is_named(tmp_path: Path, content: bytes) -> None:
    """A deeply nested or undecodable file is reported in one line, not by a traceback."""
    path = tmp_path / "run.json"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"run\.json is not a run record"):
        run_record.read(path)
