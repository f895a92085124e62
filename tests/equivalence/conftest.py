"""The options that name the run to check, and the fixtures that read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.source import given_url
from pipeline_verification.finished_run import FinishedRun
from pipeline_verification.verdict import FinishedRunEvidence

RUN = pytest.StashKey[FinishedRun]()
AGAINST = pytest.StashKey[FinishedRun]()
USAGE = "name the run to check: pytest tests/equivalence --run-dir runs/cron"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("equivalence", "the run whose outputs are checked")
    group.addoption("--run-dir", type=Path, metavar="DIR", help="the run, such as runs/cron")
    group.addoption("--against", type=Path, metavar="DIR", help="a second run, which must equal it")
    group.addoption(
        "--source-url",
        metavar="URL",
        help="the database of a run with --dataset none, where its URL has a password: env, @FILE",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Read the runs' records before any test, so that a wrong folder is one clear line."""
    if config.option.run_dir is None:
        return
    try:
        config.stash[RUN] = FinishedRun.read(config.option.run_dir)
        if config.option.against is not None:
            config.stash[AGAINST] = FinishedRun.read(config.option.against)
    except PipelineError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Refuse to skip the whole suite when nothing else was asked for."""
    suite = Path(__file__).parent
    if config.option.run_dir is None and all(suite in item.path.parents for item in items):
        raise pytest.UsageError(USAGE)


@pytest.fixture(scope="session")
def run(pytestconfig: pytest.Config) -> FinishedRun:
    """The run to check."""
    if RUN not in pytestconfig.stash:
        pytest.skip(USAGE)
    return pytestconfig.stash[RUN]


@pytest.fixture(scope="session")
def against(pytestconfig: pytest.Config) -> FinishedRun:
    """The run that it must equal."""
    if AGAINST not in pytestconfig.stash:
        pytest.skip("no second run was named with --against")
    return pytestconfig.stash[AGAINST]


@pytest.fixture(scope="session")
def evidence(run: FinishedRun, pytestconfig: pytest.Config) -> FinishedRunEvidence:
    """The run's files and record with the oracle's tables, which are computed once."""
    given = pytestconfig.getoption("source_url")
    return run.evidence(given and given_url(given))
