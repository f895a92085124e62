"""What a seed decides, and what the processes of a run are called."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import psutil
import pytest

from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.specification import STEP_NAMES
from ecommerce_pipeline.storage.journal import JournalEntry
from pipeline_verification.random_kills.draw import MODES, PIPELINE, RESUME, Draw, Timetable
from pipeline_verification.random_kills.trial import Day, left_over, strike
from pipeline_verification.random_kills.victims import Member, choose, kind_of, members

DRAWS = [Draw.of(seed, MODES) for seed in range(400)]


def test_a_seed_decides_everything() -> None:
    """The same seed gives the same mode, moment and process; other seeds give others."""
    assert [Draw.of(seed, MODES) for seed in range(400)] == DRAWS
    assert len({draw.fraction for draw in DRAWS}) == len(DRAWS)


def test_half_of_the_kills_of_the_control_are_of_its_driver() -> None:
    """With both modes, every second kill is of run.py."""
    assert Counter(draw.mode for draw in DRAWS) == {PIPELINE: 200, RESUME: 200}


def test_every_step_is_aimed_at() -> None:
    """Two hundred kills of the control aim three times or more at every step, in either mode."""
    for mode in MODES:
        aimed = Counter(draw.step for draw in DRAWS[:200] if draw.mode == mode)
        assert aimed.keys() == {None, *STEP_NAMES}
        assert min(aimed.values()) >= 3


def test_a_moment_lies_in_its_step_or_in_the_day() -> None:
    """A kill comes as far into the step, or into the day, as the draw says."""
    begun = datetime(2025, 1, 3, tzinfo=UTC)
    entry = JournalEntry(
        interval="2025-01-02",
        step="publish",
        started_at=begun + timedelta(seconds=4),
        ended_at=begun + timedelta(seconds=6),
        outcome="success",
    )
    timetable = Timetable.of(10.0, [entry])
    assert timetable.delay(Draw(1, PIPELINE, "publish", 0.25, 0.0, 0.0)) == 0.5
    assert timetable.delay(Draw(1, PIPELINE, None, 0.25, 0.0, 0.0)) == 2.5


SERVER = ["python", "-m", step_server.__name__, "3"]


@pytest.mark.parametrize(
    ("command", "parent", "kind"),
    [
        (SERVER, ["python", "pipeline.py"], "step server"),
        (SERVER, SERVER, "step"),
        (["/opt/bin/python3.11", "/repo/cron_impl/pipeline.py", "2025-01-02"], [], "pipeline.py"),
        (["/opt/bin/python", "-m", "airflow", "scheduler", "--skip"], [], "airflow scheduler"),
        (["airflow worker -- 019a-77"], [], "airflow worker"),
        (["airflow worker -- LocalExecutor: 019a-77", "", ""], [], "airflow worker"),
        (["/usr/lib/postgresql/bin/postgres", "-D", "/run/metadata"], [], "postgres"),
        (["tail", "-F", "-c", "+0", "/run/logs/kxxqaqei.out"], [], "tail"),
        (["python", "dagster", "api", "execute_run", "{}"], [], "dagster api execute_run"),
        (["postgres: checkpointer "], [], "postgres: checkpointer"),
        ([], [], ""),
    ],
)
def test_a_process_is_named_by_its_command(
    command: list[str], parent: list[str], kind: str
) -> None:
    """The name of a kind has neither paths nor numbers."""
    assert kind_of(command, parent) == kind


def test_each_kind_is_as_likely_as_any_other() -> None:
    """Ten workers are not killed more often than the one server beside them."""
    process = psutil.Process()
    found = [Member(process, "worker")] * 10 + [Member(process, "server")]
    counts = Counter(member.kind for draw in DRAWS if (member := choose(found, draw)))
    assert min(counts.values()) > 150
    assert choose([], DRAWS[0]) is None


def no_steps(found: list[Member]) -> list[str]:
    """No step is at work."""
    return []


def started() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])


def test_a_strike_kills_the_chosen_process() -> None:
    """At its moment, a process of the run gets SIGKILL, and the hit says which."""
    with started() as process:
        root = psutil.Process(process.pid)
        found = partial(members, root, with_root=True)
        day = Day(time.monotonic(), found, lambda: False, lambda step: False, no_steps)
        hit = strike(Draw(1, PIPELINE, None, 0.5, 0.0, 0.0), Timetable(0.2, {}), day)
        assert process.wait(60) == -signal.SIGKILL
    assert hit is not None
    assert hit.seconds >= 0.1
    assert left_over(hit.others) == []


def test_a_strike_at_a_step_waits_for_it() -> None:
    """A kill in a step comes after the step has begun, however late it begins."""
    with started() as process:
        root = psutil.Process(process.pid)
        begun = time.monotonic()
        found = partial(members, root, with_root=True)
        has_begun = lambda step: time.monotonic() > begun + 0.3  # noqa: E731 (shorter so)
        day = Day(begun, found, lambda: False, has_begun, no_steps)
        timetable = Timetable(0.1, {"publish": 0.0})
        hit = strike(Draw(1, PIPELINE, "publish", 0.5, 0.0, 0.0), timetable, day)
        process.wait(60)
    assert hit is not None
    assert hit.seconds >= 0.3


def test_a_day_that_is_over_is_not_killed() -> None:
    """A day that ended before the moment gives no hit."""
    day = Day(time.monotonic(), list, lambda: True, lambda step: False, no_steps)
    for draw in DRAWS[:8]:
        assert strike(draw, Timetable(600.0, {}), day) is None


def test_a_process_that_goes_on_is_left_over() -> None:
    """A process that is still alive in the end is a problem; its number is named."""
    with started() as process:
        assert left_over([psutil.Process(process.pid)], seconds=0.1) == [
            f"process {process.pid} is still alive after 0.1 s"
        ]
        os.kill(process.pid, signal.SIGKILL)
