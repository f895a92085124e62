"""Steps in processes of their own: no writer outlives its time-out or its client."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.execution import processes, step_server, supervisor
from ecommerce_pipeline.execution.step_client import run_step
from ecommerce_pipeline.execution.step_server import ENVIRONMENT_VARIABLE
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.specification import STEPS
from ecommerce_pipeline.storage import journal
from support import crash_points

PATIENCE_SECONDS = 60.0
INTERVAL = DataInterval.parse("2025-01-01")
SERVE_STEPS = [sys.executable, "-m", "ecommerce_pipeline", "serve-steps"]


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """The socket of a server that is up: it has imported dbt."""
    with step_server.running() as address:
        wait_until(lambda: answers(address))
        yield address


def answers(address: Path) -> bool:
    """Whether a server accepts a connection there, and forks a child for it, within a second."""
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.connect(str(address))
        return b"pid" in client.recv(100)
    return False


@pytest.fixture
def silent_url(server: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database that accepts connections and never answers."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(server))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        yield f"postgresql://reader@127.0.0.1:{port}/shop"


def context(tmp_path: Path, url: str) -> StepContext:
    return StepContext(run=RunDirectory(tmp_path), interval=INTERVAL, source_url=url)


def children() -> set[int]:
    """The step processes that the servers of this test run have forked and not yet lost."""
    return {
        child.pid for server in servers() for child in server.children() if _is_forked_server(child)
    }


def servers() -> list[psutil.Process]:
    """The servers that this test run has started."""
    return [process for process in psutil.Process().children() if _is_forked_server(process)]


def _is_forked_server(process: psutil.Process) -> bool:
    """Whether it runs the server's own command, unlike a zombie or Python's helper."""
    with contextlib.suppress(psutil.Error):
        return "ecommerce_pipeline.execution.step_server" in process.cmdline()
    return False


def wait_until(condition: Callable[[], object]) -> None:
    came_true = processes.wait_until(condition, timeout_seconds=PATIENCE_SECONDS, poll_seconds=0.05)
    assert came_true, "the condition did not come true in time"


def test_a_step_that_takes_too_long_is_killed(tmp_path: Path, silent_url: str) -> None:
    """After its time-out a step fails as retryable, and its process, which would hang, ends."""
    before = children()
    hanging = context(tmp_path, silent_url + "?connect_timeout=600")
    with pytest.raises(PipelineError, match=r"took longer than 0\.5 s") as caught:
        run_step("check_source_freshness", hanging, timeout_seconds=0.5)
    assert caught.value.retryable
    wait_until(lambda: not children() - before)


def test_the_journal_notes_a_failed_attempt(tmp_path: Path, silent_url: str) -> None:
    """A killed attempt is noted in the journal with its error."""
    with pytest.raises(PipelineError):
        run_step("check_source_freshness", context(tmp_path, silent_url), timeout_seconds=0.5)
    (entry,) = journal.read(RunDirectory(tmp_path), INTERVAL)
    assert (entry.step, entry.outcome) == ("check_source_freshness", "failed")
    assert "took longer" in str(entry.details["error"])


def test_a_step_dies_with_its_client(tmp_path: Path, silent_url: str, server: Path) -> None:
    """When the process that asked for a step is SIGKILLed, the step's process ends too."""
    code = (
        "import sys; from ecommerce_pipeline.execution import step_client\n"
        "from ecommerce_pipeline.context import StepContext\n"
        "from ecommerce_pipeline.interval import DataInterval\n"
        "context = StepContext.from_environment(DataInterval.parse('2025-01-01'))\n"
        "step_client.run_step('check_source_freshness', context, timeout_seconds=600)"
    )
    environment = {
        **os.environ,
        "PIPELINE_RUN_DIR": str(tmp_path),
        "PIPELINE_SOURCE_URL": silent_url + "?connect_timeout=600",
    }
    before = children()
    client = subprocess.Popen([sys.executable, "-c", code], env=environment)
    wait_until(lambda: children() - before)
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_until(lambda: not children() - before)


def test_a_killed_step_is_reported_as_retryable(
    tmp_path: Path, step_server_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step whose process is SIGKILLed from outside fails with a line that says so."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, step_server_environment[ENVIRONMENT_VARIABLE])
    monkeypatch.setenv(crash_points.VARIABLE, "notification:before_append")
    run = RunDirectory(tmp_path)
    with pytest.raises(PipelineError, match="the process of notify_slack was killed") as caught:
        run_step("notify_slack", context(tmp_path, f"sqlite:///{run.source_file}"))
    assert caught.value.retryable


def test_a_private_server_ends_with_its_owner(tmp_path: Path) -> None:
    """A process that is SIGKILLed leaves no step server of its own behind."""
    code = (
        "import time; from ecommerce_pipeline.execution import step_server\n"
        "with step_server.running() as address:\n"
        "    print(address, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    address = Path(owner.stdout.readline().decode().strip())
    (its_server,) = psutil.Process(owner.pid).children()
    assert address.exists()
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    wait_until(lambda: not its_server.is_running() and not address.parent.exists())


@pytest.fixture
def kept_up(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """The command that keeps a server up, and its socket, in a folder that holds something else."""
    address = tmp_path / "steps.sock"
    (tmp_path / "other").touch()
    with subprocess.Popen([*SERVE_STEPS, str(address)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == f"{ENVIRONMENT_VARIABLE}={address}\n"
        yield owner, address
        owner.terminate()


def test_a_server_of_ones_own_runs_steps(
    kept_up: tuple[subprocess.Popen[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps run at the address that serve-steps was given, to which only this user can connect."""
    owner, address = kept_up
    assert address.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(address))
    run_step("notify_slack", context(tmp_path, "sqlite:///none"))
    assert (tmp_path / "notifications.jsonl").exists()
    assert psutil.Process(owner.pid).children()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_server_of_ones_own_is_stopped(
    kept_up: tuple[subprocess.Popen[str], Path], number: signal.Signals
) -> None:
    """However its command ends, the server ends, too, and removes its socket and nothing else."""
    owner, address = kept_up
    (its_server,) = psutil.Process(owner.pid).children()
    owner.send_signal(number)
    owner.wait()
    wait_until(lambda: not its_server.is_running() and not address.exists())
    assert [path.name for path in address.parent.iterdir()] == ["other"]


def test_a_server_that_is_stopped_while_it_starts_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is killed because it imports for too long leaves no process and no socket."""
    monkeypatch.setattr(step_server, "STOP_SECONDS", 0.0)
    address = tmp_path / "steps.sock"
    with step_server.serving(address) as supervised:
        assert address.is_socket()
    assert supervised.process.returncode == -signal.SIGKILL
    assert not address.exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_server_that_ends_or_hangs_is_replaced(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the shared server was killed, or stopped answering, steps run in a new one."""
    monkeypatch.setattr(supervisor, "SILENCE_SECONDS", 8.0)
    address = tmp_path / "steps.sock"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(address))
    with step_server.serving(address) as supervised:
        wait_until(lambda: answers(address))
        first = supervised.process
        first.send_signal(number)
        wait_until(lambda: supervised.process.pid != first.pid)
        run_step("notify_slack", context(tmp_path, "sqlite:///none"), timeout_seconds=120)
        assert first.poll() == -signal.SIGKILL
    assert (tmp_path / "notifications.jsonl").exists()


def test_a_private_server_that_was_killed_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has no shared server runs its next step when its own server was killed."""
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    run_step("notify_slack", context(tmp_path, "sqlite:///none"), timeout_seconds=120)
    before = set(servers())
    for its_server in before:
        its_server.kill()
    run_step("notify_slack", context(tmp_path, "sqlite:///none"), timeout_seconds=120)
    assert len((tmp_path / "notifications.jsonl").read_text().splitlines()) == 2


def test_a_server_that_never_comes_up_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When servers keep ending at once, steps fail at once, as retryable, with one clear line."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    address = tmp_path / "steps.sock"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(address))
    with step_server.serving(address) as supervised:
        with pytest.raises(PipelineError, match="did not come up 6 times in a row"):
            supervised.watch_until_given_up()
        with pytest.raises(PipelineError, match="no step server answers at") as caught:
            run_step("notify_slack", context(tmp_path, "sqlite:///none"), timeout_seconds=120)
    assert caught.value.retryable


def test_a_server_that_does_not_answer_is_waited_for_until_the_time_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step whose server accepts nothing ends at its time-out, and says what it waited for."""
    address = tmp_path / "steps.sock"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(address))
    with socket.socket(socket.AF_UNIX) as stopped:
        stopped.bind(str(address))
        stopped.listen(0)
        for _ in range(2):  # the first one leaves the queue full
            expected = r"the step server at .*steps\.sock did not answer within 0\.3 s"
            with pytest.raises(PipelineError, match=expected) as caught:
                run_step("notify_slack", context(tmp_path, "sqlite:///x"), timeout_seconds=0.3)
            assert caught.value.retryable


def test_what_killed_servers_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of a server that was killed with its owner is removed; a living one's stays."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("ecommerce_pipeline.execution.environment._LONGEST_TEMPORARY_FOLDER", 200)
    (tmp_path / "pipeline-steps-of-a-killed-one").mkdir()
    (tmp_path / "another").mkdir()
    with step_server.running() as first, step_server.running() as second:
        folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
        assert {first.parent.name, second.parent.name, "another"} <= folders
        assert "pipeline-steps-of-a-killed-one" not in folders
    assert [path.name for path in tmp_path.glob("pipeline-steps-*")] == []


def test_an_address_that_is_taken_is_refused(
    kept_up: tuple[subprocess.Popen[str], Path],
) -> None:
    """A second server, or one in the place of a file, ends in one line and changes nothing."""
    _, address = kept_up
    for taken in (address, address.with_name("other")):
        refused = subprocess.run(
            [*SERVE_STEPS, str(taken)], capture_output=True, text=True, check=False
        )
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert line.startswith(f"error: there can be no step server at {taken}: ")
        assert taken.exists()


def test_what_a_killed_server_left_is_replaced(tmp_path: Path) -> None:
    """A socket at which nobody listens does not keep a server from starting there."""
    address = tmp_path / "steps.sock"
    with socket.socket(socket.AF_UNIX) as earlier:
        earlier.bind(str(address))
    with step_server.serving(address), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(address))


def test_a_server_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose server does not answer fails as retryable, with the command that starts one."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "steps.sock"))
    with pytest.raises(PipelineError, match=r"no step server answers at .*serve-steps") as caught:
        run_step("notify_slack", context(tmp_path, "sqlite:///none"))
    assert caught.value.retryable


def run_here(step: str, tmp_path: Path) -> None:
    run_step(step, context(tmp_path, f"sqlite:///{tmp_path}/source.db"), timeout_seconds=120)


@pytest.fixture
def shared_server(step_server_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps run in the server that all tests share."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, step_server_environment[ENVIRONMENT_VARIABLE])


@pytest.mark.usefixtures("shared_server")
def test_a_full_log_does_not_lose_the_result(tmp_path: Path) -> None:
    """A step whose output cannot be written keeps its own result, and its own error."""
    run = RunDirectory(tmp_path)
    for step in ("notify_slack", "check_source_freshness"):
        log = run.step_log(step, INTERVAL)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.symlink_to("/dev/full")
    run_here("notify_slack", tmp_path)
    with pytest.raises(PipelineError, match=r"source\.db"):
        run_here("check_source_freshness", tmp_path)


@pytest.mark.usefixtures("shared_server")
def test_a_log_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """A step whose log cannot be opened is not run, and says so in one line."""
    run = RunDirectory(tmp_path)
    run.step_log("notify_slack", INTERVAL).mkdir(parents=True)
    with pytest.raises(PipelineError, match=r"the step's log .*notify_slack\.log cannot be writ"):
        run_here("notify_slack", tmp_path)
    assert not run.notifications.exists()


@pytest.mark.usefixtures("shared_server")
def test_a_journal_that_cannot_be_written_does_not_hide_the_steps_error(tmp_path: Path) -> None:
    """A failed step raises its own error, a successful one that its attempt is not recorded."""
    RunDirectory(tmp_path).step_journal.mkdir(parents=True)
    with pytest.raises(PipelineError, match=r"source\.db"):
        run_here("check_source_freshness", tmp_path)
    with pytest.raises(PipelineError, match=r"the journal .*steps\.jsonl cannot be written: Is a "):
        run_here("notify_slack", tmp_path)


@pytest.mark.usefixtures("shared_server")
@pytest.mark.parametrize(
    "step", [s.name for s in STEPS if s.uses_warehouse and s.name != "load_raw"]
)
def test_a_step_whose_warehouse_vanished_fails(step: str, tmp_path: Path) -> None:
    """A step after the load neither makes an empty warehouse nor passes on one."""
    with pytest.raises(PipelineError, match=f"{step} finds no warehouse .*duckdb") as caught:
        run_here(step, tmp_path)
    assert not caught.value.retryable
    assert not RunDirectory(tmp_path).warehouse.exists()


def test_a_running_step_keeps_its_folder_from_being_cleared(
    tmp_path: Path, silent_url: str
) -> None:
    """While a step of any tool runs, its run's folder is refused to whoever would empty it."""
    run = RunDirectory(tmp_path)
    run.record.write_text("{}")
    refused: list[str] = []

    def try_to_clear() -> None:
        wait_until(lambda: run.steps_lock.exists() and run.steps_lock.read_text())
        try:
            run.clear()
        except PipelineError as error:
            refused.append(error.message)

    other = threading.Thread(target=try_to_clear)
    other.start()
    hanging = context(tmp_path, silent_url + "?connect_timeout=600")
    with pytest.raises(PipelineError, match="took longer"):
        run_step("check_source_freshness", hanging, timeout_seconds=3)
    other.join()
    assert ["steps.lock" in message for message in refused] == [True]
    assert run.record.exists()
