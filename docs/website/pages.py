"""The pages: Markdown templates, filled with code of this repository and committed results."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ecommerce_pipeline.errors import PipelineError
from pipeline_verification.harness.environments import ROOT
from website.diagram import diagram
from website.evidence import Evidence
from website.random_kills import RandomKills
from website.results import Results
from website.snippets import Snippet, headings, section, snippet, with_lists_apart
from website.tools import Tool, tools

DOCS = Path(__file__).parents[1]
PAGES, IMAGES = DOCS / "pages", DOCS / "pages" / "images"
BENCHMARKS, METHOD = ROOT / "benchmarks" / "definitions", ROOT / "benchmarks" / "README.md"
SHARED = "shared/ecommerce_pipeline"
TOOL_PAGE = "tools/_tool.md"
SHORT_LINES = 16


def write(results: Path, target: Path) -> None:
    """Write the site's sources, ``mkdocs.yml`` and ``pages/``, to a folder.

    Args:
        results: the folder of committed results; ``README.md`` beside it describes the method.
        target: an empty folder.

    Raises:
        PipelineError: a result, a symbol, a section or a picture that a page names is missing.
    """
    Site(results, target).write()


class Site:
    """The site's sources, written once."""

    def __init__(self, results: Path, target: Path) -> None:
        self._results, self._target = results, target
        self._evidence = Results(results)
        self._tools = tools()
        self._used: set[str] = set()
        self._environment = Environment(
            loader=FileSystemLoader(DOCS),
            undefined=StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,  # a line with only a block leaves no empty line, which ends a list
            lstrip_blocks=True,
            autoescape=False,  # noqa: S701 (the templates are Markdown, not HTML)
        )
        self._environment.globals.update(
            tools=self._tools,
            evidence=Evidence(self._evidence, self._tools),
            random_kills=RandomKills(self._tools),
            diagram=diagram,
            side_by_side=self._side_by_side,
            readme=self._readme,
            headings=headings,
            screens=self._screens,
            shared=_shared,
            ROOT=ROOT,
            METHOD=results.parent / "README.md",
        )

    def write(self) -> None:
        """Write configuration, pages, pictures, styles and the results themselves."""
        self._render("mkdocs.yml.jinja", self._target / "mkdocs.yml")
        for page in sorted(PAGES.rglob("*.md")):
            name = page.relative_to(PAGES)
            if not name.name.startswith("_"):
                self._render(f"pages/{name.as_posix()}", self._target / "pages" / name)
        for tool in self._tools:
            self._render(
                f"pages/{TOOL_PAGE}",
                self._target / "pages" / "tools" / f"{tool.name}.md",
                tool=tool,
            )
        self._check_unused_code()  # only now have all pages asked for their code
        for folder in (PAGES / "stylesheets", PAGES / "javascripts", IMAGES):
            if folder.exists():
                shutil.copytree(folder, self._target / "pages" / folder.name)
        for pattern in ("*.json", "*/*.svg"):
            for file in self._results.glob(pattern):
                target = self._target / "pages" / "results" / file.relative_to(self._results)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)

    def _render(self, template: str, target: Path, **values: object) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self._environment.get_template(template).render(**values))

    def _side_by_side(self, concern: str) -> str:
        """Every tool's code for a concern: in a grid where all of it is short, else in tabs."""
        self._used.add(concern)
        found = {tool: tool.snippets(concern) for tool in self._tools}
        short = all(_is_short(code) for code in found.values())
        return _grid(found) if short else _tabs(found)

    def _check_unused_code(self) -> None:
        for tool in self._tools:
            if unused := set(tool.code) - self._used:
                raise PipelineError(
                    f"no page shows the code of {tool.name} for {min(unused)!r}",
                    f"fix {tool.folder / 'site.toml'}, or the page",
                )

    def _readme(self, path: Path, heading: str | None = None, *, root: str = "../") -> str:
        """A section of a README; its links begin with ``root``, the path to the site's top."""
        links = re.compile(r"\[([^]]+)\]\(([^)#:]+)\)")
        text = with_lists_apart(section(path, heading))
        return links.sub(lambda found: self._link(path.parent, found[1], found[2], root), text)

    def _link(self, folder: Path, label: str, target: str, root: str) -> str:
        """A README's link as the site has it: to a page, to a result, or as plain text."""
        path = Path(os.path.normpath(folder / target))
        page = _page_of(path)
        if page is not None:
            return f"[{label}]({root}{page.relative_to(PAGES)})"
        if path.parent.name == "results" and path.suffix == ".json":
            self._evidence.read(path.stem)  # a link to a missing result is an error
            return f"[{label}]({root}results/{path.name})"
        return label

    def _screens(self, tool: Tool) -> str:
        """The pictures of a tool's screens."""
        return "\n\n".join(_figure(tool, s.name, s.title) for s in tool.screens)


def _page_of(file: Path) -> Path | None:
    """The page that shows a file of the repository; None where there is none."""
    if file.is_relative_to(PAGES):
        return file
    if file == METHOD:
        return PAGES / "evidence" / "method.md"
    page = PAGES / "evidence" / f"{file.parent.name}.md"
    return page if file.parent.parent == BENCHMARKS and page.exists() else None


def _is_short(code: Sequence[Snippet]) -> bool:
    return sum(len(each.lines) for each in code) <= SHORT_LINES


def _grid(found: dict[Tool, list[Snippet]]) -> str:
    cells = (
        f'<div class="variant" markdown="1">\n\n**{tool.title}**\n\n{_blocks(tool, code)}\n\n</div>'
        for tool, code in found.items()
    )
    return '<div class="variants" markdown="1">\n\n' + "\n\n".join(cells) + "\n\n</div>"


def _tabs(found: dict[Tool, list[Snippet]]) -> str:
    return "\n\n".join(
        f'=== "{tool.title}"\n\n' + _indented(_blocks(tool, code)) for tool, code in found.items()
    )


def _blocks(tool: Tool, code: Sequence[Snippet]) -> str:
    return "\n\n".join(_block(each, tool.folder.name) for each in code)


def _block(shown: Snippet, folder: str) -> str:
    return f'```{shown.language} title="{file_name(shown, folder)}"\n{shown.text}\n```'


def file_name(shown: Snippet, folder: str) -> str:
    """The path of a snippet's file below the repository."""
    return os.path.normpath(f"{folder}/{shown.file}")


def _shared(reference: str) -> str:
    """Code of the shared package."""
    return _block(snippet(ROOT / SHARED, reference), SHARED)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


def _figure(tool: Tool, name: str, title: str) -> str:
    path = IMAGES / f"{tool.name}-{name}.png"
    if not path.is_file():
        raise PipelineError(f"{path} is missing", "make it with: nox -s screenshots")
    return (
        f'<figure class="screen" markdown="1">\n\n![{escape(title)}](../images/{path.name})'
        f"{{ loading=lazy }}\n\n<figcaption>{escape(title)}</figcaption>\n\n</figure>"
    )
