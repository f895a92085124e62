"""The manifest that a tool's asset graph is drawn from."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from ecommerce_pipeline.dbt_runner.manifest import PROJECT_VARIABLE, manifest_file, project_folder
from ecommerce_pipeline.errors import PipelineError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project that no one has parsed."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(project_folder(), folder, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setenv(PROJECT_VARIABLE, str(folder))
    return folder


def test_the_manifest_follows_the_project(project: Path) -> None:
    """It is parsed where there is none, left as it is, and parsed again once a file is newer."""
    manifest = manifest_file()
    assert "model.ecommerce.fct_orders" in json.loads(manifest.read_text())["nodes"]
    parsed = manifest.stat()
    assert manifest_file().stat() == parsed
    broken = project / "models" / "marts" / "dim_stores.sql"
    broken.write_text("select * from {{ ref('no_such_model') }}")
    with pytest.raises(PipelineError, match="no_such_model"):
        manifest_file()
    assert manifest.stat() == parsed


def test_another_process_may_parse_meanwhile(project: Path) -> None:
    """Folders that come and go where dbt writes do not disturb the search for changes."""
    manifest = manifest_file()
    with folders_that_come_and_go(manifest.parent):
        assert {manifest_file() for _ in range(300)} == {manifest}


@contextmanager
def folders_that_come_and_go(parent: Path) -> Iterator[None]:
    """Make folders with folders in them, and remove them, as a process that parses does."""
    done = Event()

    def work() -> None:
        while not done.is_set():
            with tempfile.TemporaryDirectory(dir=parent) as folder:
                (Path(folder) / "compiled").mkdir()

    worker = Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        done.set()
        worker.join()
