"""Who may read a run's folder: its user, and others only what is published to them by choice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.permissions import READERS_VARIABLE, share
from pipeline_verification.harness.control import PIPELINE, fill_source
from pipeline_verification.harness.environments import ROOT

OTHERS = 0o077
USUAL_UMASK = 0o022


def run_with_the_usual_umask(*command: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, **environment},
        umask=USUAL_UMASK,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def modes(folder: Path) -> dict[str, int]:
    """What others may do with the folder and with all in it, by relative path, links left out."""
    paths = (path for path in (folder, *folder.rglob("*")) if not path.is_symlink())
    return {str(path.relative_to(folder)): path.stat().st_mode & OTHERS for path in paths}


def test_a_run_is_private_until_it_is_published_by_choice(tmp_path: Path) -> None:
    """Others can read nothing by default; with a choice, the published copy and the dashboard."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    command = [str(ROOT / "cron_impl" / "run.py"), "--run-dir", str(folder), "--days"]
    run_with_the_usual_umask(*command, "1")
    assert {path: mode for path, mode in modes(folder).items() if mode} == {}
    run_with_the_usual_umask(*command, "2", "--resume", **{READERS_VARIABLE: "everyone"})
    found = modes(folder)
    version = (folder / "published").resolve().relative_to(folder)
    assert {path: mode for path, mode in found.items() if mode and "/" not in path} == {
        **dict.fromkeys((".", ".published", "dashboard"), 0o011)
    }
    assert found[f"{version}/marts"] == 0o055
    assert found[f"{version}/marts/dim_customers.parquet"] == 0o044
    assert found[f"{version}/warehouse.duckdb"] == 0o044
    assert found["dashboard/index.html"] == 0o044
    assert not any(mode for path, mode in found.items() if path.startswith(("landing", "logs")))


def test_a_pipeline_that_cron_starts_is_private_too(tmp_path: Path) -> None:
    """Without the command, what a pipeline makes is private below a folder that others may read."""
    folder = tmp_path / "run"
    shop = load_dataset("synthetic", seed=1, scale=1)
    fill_source(f"sqlite:///{tmp_path / 'source.db'}", shop, "2025-01-01")
    source = {"PIPELINE_SOURCE_URL": f"sqlite:///{tmp_path / 'source.db'}"}
    run_with_the_usual_umask(str(PIPELINE), "2025-01-01", PIPELINE_RUN_DIR=str(folder), **source)
    assert {path: mode for path, mode in modes(folder).items() if mode} == {}


def test_unknown_readers_are_refused(tmp_path: Path) -> None:
    """Another value of the variable is refused before anything is opened to anybody."""
    tmp_path.chmod(0o700)
    with pytest.raises(PipelineError, match="PIPELINE_READERS='all' names no readers; set it to"):
        share(tmp_path, tmp_path, {READERS_VARIABLE: "all"})
    assert tmp_path.stat().st_mode & OTHERS == 0


@pytest.mark.parametrize(("readers", "expected"), [("owner", 0o700), ("group", 0o710)])
def test_a_group_may_pass_through_the_folders_above(
    tmp_path: Path, readers: str, expected: int
) -> None:
    """Folders above what is shared can be passed through by its readers, but not listed."""
    root = tmp_path / "run"
    file = root / "dashboard" / "index.html"
    file.parent.mkdir(parents=True)
    root.chmod(0o700)
    file.touch(mode=0o600)
    share(file, root, {READERS_VARIABLE: readers})
    assert root.stat().st_mode & 0o777 == expected
    assert file.stat().st_mode & 0o777 == (0o640 if readers == "group" else 0o600)
