"""dbt's manifest of the project as it stands, for tools that draw its graph."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ecommerce_pipeline.dbt_command import WAREHOUSE_VARIABLE, project_folder
from ecommerce_pipeline.errors import PipelineError

_NOT_THE_PROJECT = ("target", "logs")


def manifest_file() -> Path:
    """``target/manifest.json`` of the project, parsed anew when a file of the project is newer.

    dbt runs in a process of its own; no warehouse is opened.

    Raises:
        PipelineError: there is no dbt project, or dbt cannot parse it.
    """
    project = project_folder()
    manifest = project / "target" / "manifest.json"
    if not manifest.exists() or manifest.stat().st_mtime <= _last_change(project):
        _parse(project, manifest)
    return manifest


def _last_change(project: Path) -> float:
    return max(
        path.stat().st_mtime
        for path in project.rglob("*")
        if path.relative_to(project).parts[0] not in _NOT_THE_PROJECT
    )


def _parse(project: Path, manifest: Path) -> None:
    """Parse in a folder beside the manifest, then replace it, so that no reader sees half."""
    manifest.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=manifest.parent, prefix=".parsing-") as folder:
        arguments = [
            *("parse", "--project-dir", str(project), "--profiles-dir", str(project)),
            *("--target-path", folder, "--log-path", folder, "--no-use-colors"),
        ]
        ended = subprocess.run(
            [sys.executable, "-m", "dbt.cli.main", *arguments],
            env={**os.environ, WAREHOUSE_VARIABLE: str(Path(folder) / "warehouse.duckdb")},
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise PipelineError(
                f"dbt cannot parse {project}: {ended.stdout[-2000:] or ended.stderr[-2000:]}",
                "mend the dbt project",
            )
        (Path(folder) / manifest.name).replace(manifest)
