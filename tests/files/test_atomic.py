"""Atomic files survive a kill and a loss of power at any moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecommerce_pipeline.files.atomic import atomic_file


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is synced to the disk and renamed, in order, by the names of the files."""
    seen: list[tuple[str, str]] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        seen.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        real_fsync(descriptor)

    def replace(path: Path, target: Path) -> Path:
        seen.append(("rename", target.name))
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    return seen


def test_the_content_is_on_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    """The file is synced, then renamed, then its folder is synced, so that the rename lasts."""
    with atomic_file(tmp_path / "report.json") as temporary:
        temporary.write_text("{}")
        assert events == []
    assert events == [
        ("sync", temporary.name),
        ("rename", "report.json"),
        ("sync", tmp_path.name),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_an_error_leaves_the_target_and_nothing_beside_it(
    tmp_path: Path, events: list[tuple[str, str]]
) -> None:
    """When the block raises, nothing is renamed and the temporary file is removed."""
    target = tmp_path / "report.json"
    target.write_text("before")

    def write_half() -> None:
        with atomic_file(target) as temporary:
            temporary.write_text("ha")
            raise ValueError("half-written")

    with pytest.raises(ValueError, match="half-written"):
        write_half()
    assert events == []
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert target.read_text() == "before"


def test_the_leftover_of_a_dead_writer_is_removed_and_a_living_writers_is_not(
    tmp_path: Path,
) -> None:
    """Hidden files of processes that have ended go with the next write of the same target."""
    dead = tmp_path / ".report.json.4194304-00.tmp"  # above the kernel's highest process id
    living = tmp_path / f".report.json.{os.getpid()}-00.tmp"
    other = tmp_path / ".other.json.4194304-00.tmp"
    for leftover in (dead, living, other):
        leftover.touch()
    with atomic_file(tmp_path / "report.json") as temporary:
        temporary.write_text("{}")
    assert sorted(tmp_path.iterdir()) == sorted([living, other, tmp_path / "report.json"])
