"""The processes of a run: what each is, which steps are at work, and which one is killed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import dropwhile, islice, takewhile
from pathlib import Path, PurePath

import psutil

from ecommerce_pipeline.execution import step_server
from ecommerce_pipeline.specification import STEP_NAMES
from pipeline_verification.harness.process_tree import process_tree
from pipeline_verification.random_kills.draw import Draw

STEP, STEP_SERVER, DBT = "step", "step server", "dbt"
_RESOURCE_TRACKER = "resource tracker"
_KNOWN = {
    "multiprocessing.spawn": "multiprocessing child",
    "multiprocessing.resource_tracker": _RESOURCE_TRACKER,
    "multiprocessing.forkserver": "fork server",
    "pipeline-dbt": DBT,
}
_WORD = re.compile(r"[A-Za-z][A-Za-z._-]*:?")
_INTERPRETERS = ("python",)


@dataclass(frozen=True, slots=True)
class Member:
    """A living process of a run, and what it is, such as ``step server``."""

    process: psutil.Process
    kind: str


def members(root: psutil.Process, *, with_root: bool) -> list[Member]:
    """The living processes of a tree, sorted by kind and age.

    Python's resource trackers are left out: they do nothing as long as their parent lives.

    Args:
        root: the tree's root.
        with_root: whether the root itself is one of them.
    """
    found: list[Member] = []
    for process in process_tree(root):
        with suppress(psutil.Error):
            if process.status() == psutil.STATUS_ZOMBIE or (process == root and not with_root):
                continue
            parent = process.parent()
            command = process.cmdline()
            kind = kind_of(command, parent.cmdline() if parent else [])
            if kind != _RESOURCE_TRACKER:
                found.append(Member(process, kind or process.name()))
    return sorted(found, key=lambda member: (member.kind, member.process.pid))


def choose(found: Sequence[Member], draw: Draw) -> Member | None:
    """The process that a draw kills; None when there is none.

    Each kind is as likely as any other, however many processes it has.
    """
    kinds = sorted({member.kind for member in found})
    if not kinds:
        return None
    kind = kinds[int(draw.kind * len(kinds))]
    of_kind = [member for member in found if member.kind == kind]
    return of_kind[int(draw.member * len(of_kind))]


def steps_at_work(found: Sequence[Member]) -> list[str]:
    """The steps whose processes a step server forked, in the order of the specification."""
    names = set()
    for member in found:
        if member.kind == STEP:
            with suppress(OSError):
                # The output of a step's process goes to its log, which has the step's name.
                names.add(Path(f"/proc/{member.process.pid}/fd/1").readlink().stem)
    return [name for name in STEP_NAMES if name in names]


def kind_of(command: Sequence[str], parent: Sequence[str]) -> str:
    """What a process is, from its command and that of its parent; without paths and numbers."""
    if step_server.__name__ in command:
        return STEP if step_server.__name__ in parent else STEP_SERVER
    line = " ".join(command)
    for text, kind in _KNOWN.items():
        if text in line:
            return kind
    # A process that has set its title has it as its only argument that is not empty.
    arguments = line.split() if not any(command[1:]) else list(command)
    words = [PurePath(word).name for word in arguments if word != "-m"]
    program = dropwhile(lambda word: word.startswith(_INTERPRETERS), words)
    # What follows an option may be the name of a file, which differs from run to run.
    return " ".join(islice(takewhile(_WORD.fullmatch, program), 3)).rstrip(":")
