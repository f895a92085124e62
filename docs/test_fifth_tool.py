"""A new tool is a new folder: the site finds it, and names what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import samples
from pipeline_verification.harness.environments import CONTROL, ROOT, variant_names

TOY = "toy"
NOT_COPIED = ("*.lock", "runs", "site", "target", "logs", "__pycache__", "[.]*")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of this checkout with a copy of the control as another tool."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_COPIED))
    toy = shutil.copytree(copy / f"{CONTROL}_impl", copy / f"{TOY}_impl")
    site = (toy / "site.toml").read_text()
    (toy / "site.toml").write_text(site.replace('title = "Plain Python"', 'title = "Toy"'))
    for image in (copy / "docs" / "pages" / "images").glob(f"{CONTROL}-*.png"):
        shutil.copy(image, image.with_name(image.name.replace(CONTROL, TOY, 1)))
    return copy


def build(checkout: Path, results: Path) -> subprocess.CompletedProcess[str]:
    """Build the copy's site with the copy's packages."""
    command = [sys.executable, str(checkout / "docs" / "build.py"), "--results", str(results)]
    packages = os.pathsep.join([str(checkout / "shared"), str(checkout / "verification")])
    environment = {**os.environ, "PYTHONPATH": packages}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_new_folder_is_a_new_tool(checkout: Path, tmp_path: Path) -> None:
    """The copy has its page, tab, column, bar and navigation entry."""
    results = samples.write(tmp_path / "benchmarks", [*variant_names(), TOY])
    done = build(checkout, results)
    assert done.returncode == 0, done.stderr
    site = checkout / "site"
    assert "toy_impl/pipeline.py" in (site / "tools" / TOY / "index.html").read_text()
    assert 'href="tools/toy/"' in (site / "index.html").read_text()
    assert "toy_impl/command.py" in (site / "side-by-side" / "index.html").read_text()
    assert ">Toy</th>" in (site / "evidence" / "conformance" / "index.html").read_text()
    assert (
        '<tspan class="label">Toy</tspan>'
        in (site / "evidence" / "benchmarks" / "index.html").read_text()
    )


def test_a_tool_without_results_fails_the_build(checkout: Path, tmp_path: Path) -> None:
    """Without the tool's results the build fails with the command that makes them."""
    results = samples.write(tmp_path / "benchmarks", variant_names())
    done = build(checkout, results)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"variants / {TOY}; make it with: nox -s compare")


def test_the_page_names_code_that_exists() -> None:
    """Each dotted name on the page is a module of the package with a definition of that name."""
    page = (ROOT / "docs" / "pages" / "fifth-tool.md").read_text()
    names = re.findall(r"`(ecommerce_pipeline(?:\.\w+)+)\.(\w+)`", page)
    assert len(names) > 4
    for module, name in names:
        path = ROOT / "shared" / module.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        assert re.search(rf"^(?:def |class )?{name}\b", file.read_text(), re.M), (module, name)


def test_code_is_named_for_every_concern_and_no_other(checkout: Path, tmp_path: Path) -> None:
    """A concern without code, or code for none, in the new tool's site.toml fails the build."""
    results = samples.write(tmp_path / "benchmarks", [*variant_names(), TOY])
    site = checkout / f"{TOY}_impl" / "site.toml"
    right = site.read_text()
    site.write_text(right.replace("\nbackfill =", "\nreplay ="))
    line = f"error: {site} names no code for 'backfill'; add it under [code]"
    assert build(checkout, results).stderr.splitlines() == [line]
    site.write_text(right.replace("\nbackfill =", '\nreplay = ["command.py:main"]\nbackfill ='))
    line = f"error: no page shows the code of toy for 'replay'; fix {site}, or the page"
    assert build(checkout, results).stderr.splitlines() == [line]
