"""The paths of a run's files below its folder."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.lock import exclusive
from ecommerce_pipeline.files.paths import remove
from ecommerce_pipeline.files.permissions import PRIVATE_FOLDER
from ecommerce_pipeline.interval import DataInterval


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """One run's folder. The paths are absolute; nothing is created by naming them."""

    path: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", self.path.absolute())
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            shown = os.fsencode(self.path).decode(errors="backslashreplace")
            raise PipelineError(
                f"the run's folder {shown} has bytes in its path that are not UTF-8",
                "name a folder without them",
            ) from None
        # DuckDB would put its write-ahead log elsewhere, or take a backslash for a slash.
        for character, name in (("?", "question mark"), ("\\", "backslash")):
            if character in str(self.path):
                raise PipelineError(
                    f"the run's folder {self.path} has a {name} in its path",
                    "name a folder without one",
                )

    @property
    def source_file(self) -> Path:
        """The embedded source database (SQLite)."""
        return self.path / "source.db"

    @property
    def postgres_data(self) -> Path:
        """The data of the PostgreSQL server that ``--source postgres`` starts."""
        return self.path / "postgres"

    @property
    def landing(self) -> Path:
        """The folder of the landing files, with one folder for each table."""
        return self.path / "landing"

    def landing_file(self, table: str, interval: DataInterval) -> Path:
        """The rows of one table in one interval; its sidecar has the suffix ``.json``."""
        return self.landing / table / f"{interval.label}.parquet"

    @property
    def warehouse(self) -> Path:
        """The private DuckDB file; only the steps open it."""
        return self.path / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """The published copy: a link to one whole version, replaced atomically."""
        return self.path / "published"

    @property
    def published_versions(self) -> Path:
        """The folder of the published versions."""
        return self.path / ".published"

    @property
    def dashboard(self) -> Path:
        """The dashboard's page."""
        return self.path / "dashboard" / "index.html"

    @property
    def notifications(self) -> Path:
        """Where notifications go when no webhook is set."""
        return self.path / "notifications.jsonl"

    @property
    def step_journal(self) -> Path:
        """One line for each attempt of a step, appended by ``run_step``."""
        return self.path / "logs" / "steps.jsonl"

    def step_log(self, step: str, interval: DataInterval) -> Path:
        """The output of one step's last attempts, third-party noise included."""
        return self.path / "logs" / interval.label / f"{step}.log"

    def interval_record(self, interval: DataInterval) -> Path:
        """What the control notes of one interval's run; the other tools keep theirs."""
        return self.path / "logs" / interval.label / "run.json"

    @property
    def dbt_target(self) -> Path:
        """dbt's artifacts and partial-parse state for this run folder."""
        return self.path / "dbt"

    def dbt_results(self, selector: str, interval: DataInterval) -> Path:
        """dbt's ``run_results.json`` of the interval's last command on a selector."""
        return self.dbt_target / "results" / interval.label / f"{selector}.json"

    @property
    def tool_home(self) -> Path:
        """The home of the tool's services: databases, configuration, state."""
        return self.path / "tool"

    @property
    def lock(self) -> Path:
        """The lock of the process that runs intervals here, so that two runs never overlap."""
        return self.path / ".run.lock"

    @property
    def driver_lock(self) -> Path:
        """The lock of the driver that owns the folder."""
        return self.path / ".driver.lock"

    @property
    def steps_lock(self) -> Path:
        """The lock that running steps share, so that nobody clears the folder meanwhile."""
        return self.path / ".steps.lock"

    @property
    def record(self) -> Path:
        """The run record, ``run.json``."""
        return self.path / "run.json"

    def make(self) -> None:
        """Make the folder where it is missing.

        Raises:
            PipelineError: it cannot be made.
        """
        try:
            self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            raise _unusable(self.path, "made", error) from error

    def refuse_foreign(self) -> None:
        """Refuse a folder that ``clear`` would refuse; nothing is changed.

        Raises:
            PipelineError: the folder has files but no run record, so it is not a run's.
        """
        try:
            if not self.path.exists():
                return
            foreign = not self.path.is_dir() or (self._holds_files() and not self.record.exists())
        except OSError as error:
            raise _unusable(self.path, "read", error) from error
        if foreign:
            raise PipelineError(
                f"{self.path} holds files but is not a run's folder",
                "name an empty or a new folder with --run-dir",
            )

    def clear(self) -> None:
        """Remove what an earlier run left, and nothing that a run does not make; close the folder.

        Raises:
            PipelineError: a run or a step works here, the folder has files but no run record, so
                it is not a run's, or something cannot be removed.
        """
        # Both are taken before anything is removed: a refusal changes nothing.
        with exclusive(self.lock), exclusive(self.steps_lock):
            self.refuse_foreign()
            try:
                for pattern in _MADE_BY_RUNS:
                    for found in self.path.glob(pattern):
                        remove(found)
            except OSError as error:
                raise _unusable(self.path, "emptied", error) from error
            with contextlib.suppress(PermissionError):  # another user's, as a mounted volume may be
                self.path.chmod(PRIVATE_FOLDER)

    def _holds_files(self) -> bool:
        locks = {self.lock, self.driver_lock, self.steps_lock}
        return any(found not in locks for found in self.path.iterdir())


def _unusable(path: Path, verb: str, error: OSError) -> PipelineError:
    return PipelineError(
        f"the run's folder {path} cannot be {verb}: {error.strerror or error}",
        "name another folder, or make this one's parent writable",
    )


# The stars are for what the databases keep beside their files: write-ahead logs, shared memory.
_MADE_BY_RUNS = (
    "source.db*",
    "postgres",
    "landing",
    "warehouse.duckdb*",
    "warehouse.rebuilding.duckdb*",
    "published",
    ".published",
    "dashboard",
    "notifications.jsonl",
    "logs",
    "dbt",
    "tool",
    "run.json",
)
