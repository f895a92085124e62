"""The manifest that a tool's asset graph is drawn from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ecommerce_pipeline.dbt_manifest import PROJECT_VARIABLE, manifest_file, project_folder
from ecommerce_pipeline.errors import PipelineError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project that no one has parsed."""
    folder = tmp_path / "dbt_project"
    shutil.copytree(project_folder(), folder, ignore=shutil.ignore_patterns("target", "logs"))
    monkeypatch.setenv(PROJECT_VARIABLE, str(folder))
    return folder


def test_the_manifest_follows_the_project(project: Path) -> None:
    """It is parsed where there is none, left as it is, and parsed anew once a file is newer."""
    manifest = manifest_file()
    assert "model.ecommerce.fct_orders" in json.loads(manifest.read_text())["nodes"]
    parsed = manifest.stat()
    assert manifest_file().stat() == parsed
    broken = project / "models" / "marts" / "dim_stores.sql"
    broken.write_text("select * from {{ ref('no_such_model') }}")
    with pytest.raises(PipelineError, match="no_such_model"):
        manifest_file()
    assert manifest.stat() == parsed
