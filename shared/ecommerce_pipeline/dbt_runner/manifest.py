"""The dbt project as dbt parsed it last, kept below the project for every process and tool."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment

PROJECT_VARIABLE = "PIPELINE_DBT_PROJECT"
WAREHOUSE_VARIABLE = "PIPELINE_WAREHOUSE"  # read by profiles.yml
# Relative, and the same for every run's folder: dbt keeps the values of environment variables with
# its parsed project, and parses the whole project again when one of them has changed.
WAREHOUSE_PATH = "warehouse.duckdb"

_MANIFEST = "manifest.json"
_STATE = "partial_parse.msgpack"
_NOT_THE_PROJECT = ("target", "logs")  # where dbt writes


def project_folder() -> Path:
    """The dbt project: ``PIPELINE_DBT_PROJECT``, else ``dbt_project/`` of this checkout.

    Raises:
        PipelineError: there is no dbt project in that folder.
    """
    checkout = Path(__file__).parents[3]
    folder = Path(os.environ.get(PROJECT_VARIABLE) or checkout / "dbt_project").absolute()
    if not (folder / "dbt_project.yml").is_file():
        raise PipelineError(
            f"{folder} holds no dbt project", f"set {PROJECT_VARIABLE} to the folder that does"
        )
    return folder


def manifest_file() -> Path:
    """dbt's manifest of the project as its files are now, for tools that draw its graph.

    Raises:
        PipelineError: there is no dbt project, or dbt cannot parse it.
    """
    return parse_if_changed() / _MANIFEST


def parse_if_changed() -> Path:
    """Parse the project when a file of it is newer than what dbt last made of it.

    dbt runs in a process of its own; no warehouse is opened.

    Returns:
        The folder with the manifest and the state of partial parsing.

    Raises:
        PipelineError: there is no dbt project, or dbt cannot parse it.
    """
    project = project_folder()
    parsed = _parsed_folder(project)
    manifest = parsed / _MANIFEST
    # Also for an equal time: a file that was saved while dbt parsed may not be in the manifest.
    if not manifest.exists() or manifest.stat().st_mtime <= _last_change(project):
        _parse(project, parsed)
    return parsed


def partial_parse_state(project: Path) -> Path | None:
    """The state with which dbt parses only what changed; None where nothing was parsed yet."""
    state = _parsed_folder(project) / _STATE
    return state if state.exists() else None


def _parsed_folder(project: Path) -> Path:
    # Each tool's environment may have its own version of dbt, which cannot read another's state.
    return project / "target" / f"dbt-core-{version('dbt-core')}"


def _last_change(project: Path) -> float:
    """The newest modification time below the project, in seconds since 1970.

    Folders count as well, for a removed file leaves no other trace. The folders that dbt writes to
    are left out: their files come and go meanwhile.
    """
    parts = (part for part in project.iterdir() if part.name not in _NOT_THE_PROJECT)
    return max(path.stat().st_mtime for part in parts for path in (part, *part.rglob("*")))


def _parse(project: Path, parsed: Path) -> None:
    """Parse in a folder beside, then replace each file, so that no reader sees half."""
    parsed.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parsed, prefix=".parsing-") as folder:
        arguments = [
            *("parse", "--project-dir", str(project), "--profiles-dir", str(project)),
            *("--target-path", folder, "--log-path", folder, "--no-use-colors"),
        ]
        ended = subprocess.run(
            [sys.executable, "-m", "dbt.cli.main", *arguments],
            env={**stated_environment(), WAREHOUSE_VARIABLE: WAREHOUSE_PATH},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode != 0:
            raise PipelineError(
                f"dbt cannot parse {project}: {ended.stdout[-2000:] or ended.stderr[-2000:]}",
                "fix the dbt project",
            )
        for name in (_STATE, _MANIFEST):  # the manifest last, whose time is compared
            (Path(folder) / name).replace(parsed / name)
