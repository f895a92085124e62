"""The dbt project as dbt parsed it last, kept below the project for every process and tool."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from ecommerce_pipeline import specification
from ecommerce_pipeline.dbt_runner import selection
from ecommerce_pipeline.dbt_runner.selection import Node
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution.environment import stated_environment
from ecommerce_pipeline.files.lock import exclusive

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

PROJECT_VARIABLE = "PIPELINE_DBT_PROJECT"
WAREHOUSE_VARIABLE = "PIPELINE_WAREHOUSE"  # read by profiles.yml
# Relative, and the same for every run's folder: dbt keeps the values of environment variables with
# its parsed project, and parses the whole project again when one of them has changed.
WAREHOUSE_PATH = "warehouse.duckdb"

PARSE_SECONDS = 300.0

_MANIFEST = "manifest.json"
_STATE = "partial_parse.msgpack"
_NODES = "selected_nodes.json"
_MADE = (_STATE, _MANIFEST, _NODES)
_ORIGIN = "parsed.json"  # which contents the others were made of, and their digests
_CODE = (selection.__file__, specification.__file__)
_PARSING = ".parsing-"
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


def selected_nodes(selector: str) -> list[Node]:
    """What a dbt step with this selector should run in the project as its files are now.

    Raises:
        PipelineError: there is no dbt project, or dbt cannot parse it.
    """
    nodes = json.loads((parse_if_changed() / _NODES).read_text())
    return [Node(**values) for values in nodes[selector]]


def parse_if_changed() -> Path:
    """Parse the project when its files are not those of which dbt last made what is kept.

    dbt runs in a process of its own; no warehouse is opened.

    Returns:
        The folder with the manifest, the state of partial parsing and the selectors' nodes.

    Raises:
        PipelineError: there is no dbt project, or dbt cannot parse it, or not in time.
    """
    project = project_folder()
    parsed = _parsed_folder(project)
    if not _is_of(_digest(project), parsed):
        try:
            parsed.mkdir(parents=True, exist_ok=True)
            # Several processes of a tool start at once; one of them parses.
            with exclusive(parsed / ".lock", wait_seconds=PARSE_SECONDS):
                # Before dbt reads the files: of a file that is saved meanwhile, dbt may have read
                # the earlier content, so that the project must be parsed again.
                digest = _digest(project)
                if not _is_of(digest, parsed):
                    _parse(project, parsed, digest)
        except OSError as error:
            raise PipelineError(
                f"dbt's manifest cannot be kept in {parsed}: {error.strerror or error}",
                "free disk space, or make the folder writable",
            ) from error
    return parsed


def read_manifest(parsed: Path) -> Manifest:
    """dbt's own object of the project, from the folder that ``parse_if_changed`` returns.

    Raises:
        OSError: the state of partial parsing cannot be read.
    """
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    manifest: Manifest = Manifest.from_msgpack(
        (parsed / _STATE).read_bytes(), decoder=extended_mashumuro_decoder
    )
    return manifest


def partial_parse_state(project: Path) -> Path | None:
    """The state with which dbt parses only what changed; None where nothing was parsed yet."""
    state = _parsed_folder(project) / _STATE
    return state if state.exists() else None


def _parsed_folder(project: Path) -> Path:
    # Each tool's environment may have its own version of dbt, which cannot read another's state.
    return project / "target" / f"dbt-core-{version('dbt-core')}"


def _digest(project: Path) -> str:
    """A digest over the names and the contents of the project's files.

    Their times do not count: a copy by rsync or tar keeps the old time of a file that is new here.
    The folders that dbt writes to are left out: their files come and go meanwhile.

    Raises:
        PipelineError: a file cannot be read.
    """
    digest = hashlib.sha256()
    parts = [part for part in project.iterdir() if part.name not in _NOT_THE_PROJECT]
    files = {path for part in parts for path in (part, *part.rglob("*")) if path.is_file()}
    for path in sorted(files):
        try:
            content = hashlib.sha256(path.read_bytes())
        except OSError as error:
            raise PipelineError(
                f"the dbt project's file {path} cannot be read: {error.strerror}",
                "fix its permissions, or run again once nobody edits the project",
                retryable=True,
            ) from error
        digest.update(os.fsencode(path.relative_to(project)) + b"\0" + content.digest())
    return digest.hexdigest()


def _is_of(digest: str, parsed: Path) -> bool:
    """Whether the folder has what dbt made of the project with this digest, undamaged."""
    try:
        return bool(json.loads((parsed / _ORIGIN).read_text()) == _origin(digest, parsed))
    except (OSError, ValueError, RecursionError):
        return False


def _origin(digest: str, folder: Path) -> dict[str, str]:
    """The digests of the project, of the code that chooses its nodes, and of what was made."""
    made = {name: hashlib.sha256((folder / name).read_bytes()) for name in _MADE}
    code = hashlib.sha256(b"".join(Path(file).read_bytes() for file in _CODE))
    return {
        "project": digest,
        "code": code.hexdigest(),
        **{name: content.hexdigest() for name, content in made.items()},
    }


def _parse(project: Path, parsed: Path, digest: str) -> None:
    """Parse in a folder beside, then replace each file, so that no reader sees half."""
    for leftover in parsed.glob(f"{_PARSING}*"):  # of a process that was killed; the lock is held
        shutil.rmtree(leftover, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=parsed, prefix=_PARSING) as parsing:
        folder = Path(parsing)
        _run_dbt_parse(project, folder)
        (folder / _ORIGIN).write_text(json.dumps(_origin(digest, folder)))
        for name in (*_MADE, _ORIGIN):
            (folder / name).replace(parsed / name)


def _run_dbt_parse(project: Path, folder: Path) -> None:
    arguments = [
        str(folder / _NODES),
        *("--project-dir", str(project), "--profiles-dir", str(project)),
        *("--target-path", str(folder), "--log-path", str(folder), "--no-use-colors"),
    ]
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "ecommerce_pipeline.dbt_runner.parse", *arguments],
            env={**stated_environment(), WAREHOUSE_VARIABLE: WAREHOUSE_PATH},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PARSE_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise PipelineError(
            f"dbt did not parse {project} within {PARSE_SECONDS:g} s",
            "run again when the machine is less busy, or find out why with: dbt parse",
            retryable=True,
        ) from None
    if ended.returncode != 0:
        raise PipelineError(
            f"dbt cannot parse {project}: {ended.stdout[-2000:] or ended.stderr[-2000:]}",
            "fix the dbt project",
        )
