"""The manifest that a tool's asset graph is drawn from."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from ecommerce_pipeline.dbt_runner import manifest as manifest_module
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
    """It is parsed where there is none, left as it is, and parsed again once a file has changed."""
    manifest = manifest_file()
    assert "model.ecommerce.fct_orders" in json.loads(manifest.read_text())["nodes"]
    parsed = manifest.stat()
    assert manifest_file().stat() == parsed
    broken = project / "models" / "marts" / "dim_stores.sql"
    broken.write_text("select * from {{ ref('no_such_model') }}")
    with pytest.raises(PipelineError, match="no_such_model"):
        manifest_file()
    assert manifest.stat() == parsed


def replace_with_an_older_file(project: Path) -> None:
    """Change the project's name as rsync or tar does: with the old file's earlier time."""
    file = project / "dbt_project.yml"
    file.write_text(file.read_text() + "\nvars: {restored: 1}\n")
    os.utime(file, (0, 0))


def test_a_file_with_an_older_time_is_a_change(project: Path) -> None:
    """Content decides, not time: a file that was replaced by an older one is parsed."""
    before = manifest_file().read_bytes()
    replace_with_an_older_file(project)
    after = manifest_file()
    assert after.read_bytes() != before
    parsed = after.stat()
    for file in project.rglob("*.sql"):  # a newer time alone, as of a checkout, is no change
        file.touch()
    assert manifest_file().stat() == parsed


@pytest.mark.parametrize("name", ["manifest.json", "partial_parse.msgpack", "parsed.json"])
def test_a_damaged_file_is_found(name: str, project: Path) -> None:
    """What dbt made of the project does not count when a file of it was damaged."""
    folder, digest = manifest_file().parent, manifest_module._digest(project)
    assert manifest_module._is_of(digest, folder)
    for damage in (b"", b"{}", b"[" * 100_000, b"\xff" * 1000):
        (folder / name).write_bytes(damage)
        assert not manifest_module._is_of(digest, folder)


def test_a_process_that_forks_never_parses(project: Path) -> None:
    """A step server has no thread after its start, though the project was replaced meanwhile.

    A thread of dbt's parser is missing in a fork, which would wait for it for ever. Nor does it
    leave a semaphore, of which Python's tracker would warn at its end.
    """
    manifest_file()
    code = (
        "import os; from pathlib import Path; from ecommerce_pipeline.dbt_runner import runner\n"
        "parsed = runner.parse_if_changed()\n"
        "file = runner.project_folder() / 'dbt_project.yml'\n"
        "file.write_text(file.read_text() + '\\nvars: {restored: 1}\\n')\n"
        "runner.parse_if_changed = lambda: parsed\n"
        "runner.preload()\n"
        "print(len(os.listdir('/proc/self/task')), flush=True)\n"
        "os._exit(0)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == ("1\n", "")


def test_a_parser_that_hangs_is_ended(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """dbt has a time to parse the project, after which the error says so."""
    monkeypatch.setattr(manifest_module, "PARSE_SECONDS", 0.1)
    with pytest.raises(PipelineError, match=r"dbt did not parse .* within 0\.1 s") as caught:
        manifest_file()
    assert caught.value.retryable


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
