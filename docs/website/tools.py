"""The tools: every variant's folder, and what its ``site.toml`` and ``deviations.toml`` say."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from pipeline_verification.harness import environments
from pipeline_verification.harness.code_lines import count_code_lines
from website.snippets import Snippet, snippet


@dataclass(frozen=True, slots=True)
class Deviation:
    """A known difference from the specification, and the reason why it is accepted."""

    id: str
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Screen:
    """A page of a tool's own user interface.

    Attributes:
        name: the last part of the picture's file name.
        title: what the picture shows.
        path: below the tool's address; ``{run_id}`` is replaced by the last run's id.
        wait: a selector that is visible once the page is complete.
        clicks: selectors to click before the picture is taken.
    """

    name: str
    title: str
    path: str
    wait: str
    clicks: Sequence[str] = ()


# Compared by identity: its mappings have no hash, and a tool is a key of dictionaries.
@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """One variant, as the site shows it.

    Attributes:
        name: the folder's name without ``_impl``.
        title: the tool's full name.
        folder: where its files are.
        code: for each concern, the references of its snippets (see ``snippets.snippet``).
        screens: the pages that are shown as pictures.
        sign_in: how to sign in to its user interface; empty where no sign-in is needed.
        local_storage: items to put into the browser's local storage, such as the colour scheme.
        deviations: its known differences from the specification.
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
        """The README of its folder."""
        return self.folder / "README.md"

    @property
    def has_faults(self) -> bool:
        """Whether the tool has processes to kill; ``test_faults.py`` does so."""
        return (self.folder / "test_faults.py").exists()

    @property
    def lines_of_code(self) -> int:
        """The lines of ``pipeline.py`` that are neither empty nor a comment."""
        return count_code_lines(self.folder / "pipeline.py")

    def snippets(self, concern: str) -> list[Snippet]:
        """The code that the tool needs for a concern.

        Raises:
            PipelineError: ``site.toml`` names no code for it, or code that does not exist.
        """
        if concern not in self.code:
            raise PipelineError(
                f"{self.folder / 'site.toml'} names no code for {concern!r}", "add it under [code]"
            )
        return [snippet(self.folder, reference) for reference in self.code[concern]]


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
            f"site.toml or deviations.toml of {folder} is not as expected: {error}",
            "docs/pages/fifth-tool.md says what they contain",
        ) from None


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise PipelineError(f"{path} is missing", "docs/pages/fifth-tool.md says what it contains")
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise PipelineError(f"{path} is not valid TOML: {error}", "fix it") from None
