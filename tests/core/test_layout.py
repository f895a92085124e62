"""Which parts of the repository may import which."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_verification.harness.environments import ROOT

SHARED = ROOT / "shared"
PACKAGE = SHARED / "ecommerce_pipeline"
NOT_FOR_PRODUCTION = ("ecommerce_pipeline.harness", "ecommerce_pipeline.datasets")
# The command line offers data sets and runs beside single steps.
COMMAND_LINE = {PACKAGE / "cli.py", PACKAGE / "__main__.py"}
ORCHESTRATORS = {"airflow", "cosmos", "dagster", "dagster_dbt", "prefect", "prefect_dbt"}
PIPELINES = sorted(ROOT.glob("*_impl/pipeline.py"))


def imported(path: Path) -> set[str]:
    """The modules that a file imports, inside functions too, but not when run as a script."""
    tree = ast.parse(path.read_text())
    tree.body = [statement for statement in tree.body if not _is_script_block(statement)]
    return {name for node in ast.walk(tree) for name in _names(node)}


def _is_script_block(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached_from(start: Path) -> dict[Path, set[str]]:
    """The imports of a file, and of every file of ours that it comes to import, by file."""
    found: dict[Path, set[str]] = {}
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found[path] = imported(path)
            waiting += [file for name in found[path] for file in _files(name, start.parent)]
    return found


def _files(module: str, variant: Path) -> Iterator[Path]:
    for folder in (SHARED, variant):
        path = folder.joinpath(*module.split("."))
        candidates = (path.with_suffix(".py"), path / "__init__.py")
        yield from (file for file in candidates if file.exists())


def violations(path: Path) -> list[str]:
    """Each import of a part that is not for production to which the file comes."""
    return [
        f"{file.relative_to(ROOT)} imports {name}"
        for file, names in reached_from(path).items()
        for name in sorted(names)
        if name.startswith(NOT_FOR_PRODUCTION)
    ]


@pytest.mark.parametrize("pipeline", PIPELINES, ids=lambda path: str(path.parent.name))
def test_a_production_pipeline_imports_neither_harness_nor_data_sets(pipeline: Path) -> None:
    """No import of a deployed pipeline, direct or not, leads to the harness or the data sets."""
    assert violations(pipeline) == []


def test_the_steps_import_neither_harness_nor_data_sets() -> None:
    """No module of the package outside these two folders, but the command line, imports them."""
    modules = {path for path in PACKAGE.rglob("*.py") if path not in COMMAND_LINE}
    modules -= {*(PACKAGE / "harness").rglob("*.py"), *(PACKAGE / "datasets").rglob("*.py")}
    assert modules
    assert {name for path in modules for name in violations(path)} == set()


def test_the_shared_package_imports_no_orchestrator() -> None:
    """No module of the shared package imports a tool that orchestrates it."""
    names = {name for path in PACKAGE.rglob("*.py") for name in imported(path)}
    assert names
    assert {name.partition(".")[0] for name in names} & ORCHESTRATORS == set()
