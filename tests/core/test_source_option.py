"""A source's URL with a password comes from the environment or a file, not from a command line."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from ecommerce_pipeline.cli import cli
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.command_line import command_of
from ecommerce_pipeline.harness.driver import RunOptions
from ecommerce_pipeline.source import connect, given_url
from pipeline_verification.harness.environments import ROOT

URL = "postgresql://reader:Secret@db.internal/shop"


def test_the_environment_and_a_file_give_the_url(tmp_path: Path) -> None:
    """``env`` is the variable, ``@FILE`` the file's one line; anything else is taken as it is."""
    file = tmp_path / "source url"
    file.write_text(f"{URL}\n")
    assert given_url("env", {"PIPELINE_SOURCE_URL": URL}) == URL
    assert given_url(f"@{file}", {}) == URL
    for text in ("sqlite", "postgres", "sqlite:////data/env", URL):
        assert given_url(text, {"PIPELINE_SOURCE_URL": "sqlite:///other.db"}) == text


@pytest.mark.parametrize("value", [None, "", "Secret", "postgres"])
def test_a_variable_without_a_url_is_refused(value: str | None) -> None:
    """A variable that is not set or holds no URL is named, and what it holds is not shown."""
    environment = {} if value is None else {"PIPELINE_SOURCE_URL": value}
    with pytest.raises(PipelineError, match="PIPELINE_SOURCE_URL") as caught:
        given_url("env", environment)
    assert "Secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "No such file or directory"),
        (b"", "does not hold one line with a URL"),
        (b"Secret", "does not hold one line with a URL"),
        (b"postgresql://a\npostgresql://Secret", "does not hold one line with a URL"),
        (b"postgresql://Secret\xff@b/c", "does not hold one line with a URL"),
    ],
)
def test_a_file_without_a_url_is_refused(tmp_path: Path, content: bytes | None, what: str) -> None:
    """A file that is missing or holds no URL is named, and what it holds is not shown."""
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    with pytest.raises(PipelineError) as caught:
        given_url(f"@{tmp_path}/url", {})
    assert f"{tmp_path}/url" in caught.value.message
    assert what in caught.value.message
    assert "Secret" not in str(caught.value)


def test_every_variants_command_takes_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line that all variants share gives the driver the URL itself."""
    (tmp_path / "url").write_text(URL)
    monkeypatch.setenv("PIPELINE_SOURCE_URL", URL)
    found: list[RunOptions] = []
    command = command_of(found.append, tmp_path, "", ["native"])
    for value in ("env", f"@{tmp_path}/url", URL):
        done = CliRunner().invoke(command, ["--source", value], catch_exceptions=False)
        assert done.exit_code == 0
    assert [options.source for options in found] == [URL, URL, URL]


def test_the_source_commands_take_both(tmp_path: Path) -> None:
    """The commands that make and fill a source take the URL from both places as well."""
    url = f"sqlite:///{tmp_path}/shop.db"
    (tmp_path / "url").write_text(url)
    environment = {"PIPELINE_SOURCE_URL": url}
    for arguments in (
        ["create", "env"],
        ["load", f"@{tmp_path}/url"],
        ["advance", "env", "--to", "2025-01-02"],
    ):
        done = CliRunner(env=environment).invoke(cli, ["source", *arguments])
        assert done.exit_code == 0, done.output
    with closing(connect(url)) as source:
        assert source.state()["advanced_to"] == "2025-01-02"


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Every command line that a process had during the block."""
    seen: set[bytes] = set()
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.1):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    seen.add((process / "cmdline").read_bytes())
                except OSError:  # it has ended
                    continue

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield seen
    finally:
        done.set()
        sampler.join()


def test_a_password_is_on_no_command_line(postgres_url: str, tmp_path: Path) -> None:
    """Neither the run's own process nor one that it starts has the password as an argument."""
    secret, name = "a-long-Secret-0815", postgres_url.rpartition("/")[2]
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(f"CREATE ROLE owner_of_{name} LOGIN PASSWORD '{secret}'".encode())
        server.execute(f"GRANT ALL ON SCHEMA public TO owner_of_{name}".encode())
    url = f"postgresql://owner_of_{name}:{secret}@{postgres_url.partition('@')[2]}"
    (tmp_path / "url").write_text(url)
    run = [sys.executable, str(ROOT / "cron_impl" / "run.py"), "--source", "@url", "--days", "1"]
    with command_lines() as seen:
        done = subprocess.run(
            [*run, "--run-dir", "run"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert any(b"cron_impl/run.py" in line for line in seen)
    assert [line for line in seen if secret.encode() in line] == []
    assert secret not in done.stdout + done.stderr
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert [path for path in written if secret.encode() in path.read_bytes()] == []
