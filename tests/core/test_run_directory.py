"""A run's folder: refused by name where it cannot be used, cleared only when nobody works in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive, shared
from ecommerce_pipeline.run_directory import RunDirectory


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A folder that a run has left: its record, and a warehouse."""
    run = RunDirectory(tmp_path / "run")
    run.make()
    run.record.write_text("{}")
    run.warehouse.write_text("data")
    return run


def test_a_folder_in_use_is_not_cleared(run: RunDirectory) -> None:
    """While a pipeline or a single step works in a folder, clearing it is refused untouched."""
    for lock in (exclusive(run.lock), shared(run.steps_lock)):
        with lock, pytest.raises(PipelineError, match="another run") as caught:
            run.clear()
        assert caught.value.retryable
        assert run.record.exists()
        assert run.warehouse.exists()
    run.clear()
    assert not run.record.exists()
    assert not run.warehouse.exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A folder below a file is refused by name, with what to do."""
    (tmp_path / "file").touch()
    with pytest.raises(PipelineError, match=r"the run's folder .*file/run cannot be made: Not a"):
        RunDirectory(tmp_path / "file" / "run").make()


def test_a_path_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    """Bytes in a path that no tool could print or store are refused, escaped, by name."""
    with pytest.raises(PipelineError, match=r"run-\\xff has bytes in its path") as caught:
        RunDirectory(tmp_path / os.fsdecode(b"run-\xff"))
    str(caught.value).encode()
