"""The tools: every variant's folder, and what its ``site.toml`` and ``deviations.toml`` say."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from pipeline_verification.harness import environments
from website import cut


@dataclass(frozen=True, slots=True)
class Deviation:
    """Where a tool does not do as specified, and why that stays."""

    id: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Screen:
    """A page of a tool's own user interface.

    Attributes:
        name: the picture's file is called after it.
        title: what the picture shows.
        path: below the tool's address; ``{run_id}`` stands for the last run's.
        wait: a selector that is there once the page is complete.
        clicks: selectors to click before the picture is taken.
    """

    name: str
    title: str
    path: str
    wait: str
    clicks: Sequence[str] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """One way of running the pipeline.

    Attributes:
        name: the folder's name without ``_impl``.
        title: what people call it.
        folder: where its files are.
        code: for each concern, the references of its pieces of code.
        screens: the pages of which there are pictures.
        sign_in: how to get into its user interface; empty where it is open, or there is none.
        local_storage: what its pages keep in the browser, such as the choice of a light scheme.
        deviations: where it does not do as specified.
    """

    name: str
    title: str
    folder: Path
    code: Mapping[str, Sequence[str]]
    screens: Sequence[Screen]
    sign_in: Mapping[str, Any]
    local_storage: Mapping[str, str]
    deviations: Sequence[Deviation]

    @property
    def readme(self) -> Path:
        """What its folder says of it."""
        return self.folder / "README.md"

    @property
    def has_faults(self) -> bool:
        """Whether it has processes of its own to kill: tests that do so are in its folder."""
        return (self.folder / "test_faults.py").exists()

    @property
    def lines_of_code(self) -> int:
        """The lines of ``pipeline.py`` that are neither empty nor a comment."""
        lines = (self.folder / "pipeline.py").read_text().splitlines()
        return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))

    def pieces(self, concern: str) -> list[cut.Piece]:
        """The code by which it meets a concern.

        Raises:
            PipelineError: ``site.toml`` names none, or one that is not there.
        """
        if concern not in self.code:
            raise PipelineError(
                f"{self.folder / 'site.toml'} names no code for {concern!r}", "add it under [code]"
            )
        return [cut.piece(self.folder, reference) for reference in self.code[concern]]


def tools() -> list[Tool]:
    """Every variant of this checkout, the control last."""
    first, *others = (_tool(name) for name in environments.variant_names())
    return [*others, first]


def _tool(name: str) -> Tool:
    folder = environments.variant_folder(name)
    site = _read(folder / "site.toml")
    try:
        return Tool(
            name=name,
            title=site["title"],
            folder=folder,
            code=site["code"],
            screens=[Screen(**screen) for screen in site.get("screens", [])],
            sign_in=site.get("sign_in", {}),
            local_storage=site.get("local_storage", {}),
            deviations=[Deviation(**d) for d in _read(folder / "deviations.toml")["deviations"]],
        )
    except (KeyError, TypeError) as error:
        raise PipelineError(
            f"{folder} has a site.toml or deviations.toml with a fault: {error}",
            "docs/pages/fifth-tool.md says what they hold",
        ) from None


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise PipelineError(f"{path} is missing", "docs/pages/fifth-tool.md says what it holds")
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise PipelineError(f"{path} is no TOML: {error}", "fix it") from None
