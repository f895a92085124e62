"""Snippets of files: a Python symbol by its name, a key of YAML, a section of Markdown."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError

DOCSTRING = "__doc__"
LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "sh"}
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Snippet:
    """Consecutive lines of a file.

    Attributes:
        file: the file's path, relative to the folder given to ``snippet``.
        language: the language's name for Pygments.
        text: the lines, without their common indentation.
    """

    file: str
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.splitlines()


def snippet(folder: Path, reference: str) -> Snippet:
    """The snippet of a file that ``reference`` names.

    Args:
        folder: the folder that the file's path is relative to.
        reference: ``FILE:SYMBOL``. In Python a symbol is a dotted path of functions, classes,
            assignments and ``with`` blocks; ``@NAME`` is the decorators of a function alone, and
            ``__doc__`` the module's docstring. In YAML it is a top-level key.

    Raises:
        PipelineError: there is no such file or symbol; the message names both.
    """
    name, _, symbol = reference.partition(":")
    path = folder / name
    if not path.is_file():
        raise PipelineError(f"{path} is missing", "fix the reference, or restore the file")
    text = path.read_text()
    source = _python(text, symbol) if path.suffix == ".py" else _yaml(text, symbol)
    if source is None:
        raise PipelineError(f"{path} has no {symbol!r}", "fix the reference, or the name")
    return Snippet(name, LANGUAGES.get(path.suffix, "text"), textwrap.dedent(source).strip("\n"))


def section(path: Path, heading: str | None = None) -> str:
    """The text below a ``##`` heading of a Markdown file; without one, all below its title.

    Raises:
        PipelineError: there is no such file or heading.
    """
    if not path.is_file():
        raise PipelineError(f"{path} is missing", "write it, or fix the page that quotes it")
    parts = dict(_sections(path.read_text()))
    if heading is None:
        return "\n\n".join(f"## {name}\n{t}" if name else t for name, t in parts.items())
    if heading not in parts:
        raise PipelineError(f"{path} has no section {heading!r}", "fix the heading, or the page")
    return parts[heading]


def headings(path: Path) -> list[str]:
    """The ``##`` headings of a Markdown file."""
    return [heading for heading, _ in _sections(path.read_text()) if heading]


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Headings and texts; the text between title and first heading has an empty heading."""
    _, *parts = re.split(r"^#{1,2} (.*)$", _without_code(text), flags=re.M)
    for number, (heading, body) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        yield "" if number == 0 else heading, body.replace("\0", "#").strip("\n")


def _without_code(text: str) -> str:
    """The text with a NUL for each ``#`` at the start of a line of code: a comment, no heading."""
    fences = re.compile(r"^```.*?^```$", re.M | re.S)
    return fences.sub(lambda block: re.sub(r"^#", "\0", block[0], flags=re.M), text)


def with_lists_apart(text: str) -> str:
    """Markdown with an empty line before each list; without one, Python-Markdown sees no list."""
    begins = re.compile(r"^(?![-|>]|\s|\d+\. )(.+)\n(?=- |\d+\. )", re.M)
    parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    parts[::2] = [begins.sub(r"\1\n\n", part) for part in parts[::2]]
    return "".join(parts)


def _yaml(text: str, key: str) -> str | None:
    """A top-level key with the comment lines above it."""
    found = re.search(rf"^(?:#.*\n)*{re.escape(key)}:.*\n(?:[ \t].*\n|\n(?=[ \t]))*", text, re.M)
    return found and found[0]


def _python(text: str, symbol: str) -> str | None:
    module = ast.parse(text)
    if symbol == DOCSTRING:
        return ast.get_docstring(module, clean=False)
    found = _find(module, symbol.removeprefix("@").split("."))
    if found is None:
        return None
    lines = text.splitlines(keepends=True)
    last = found.lineno - 1 if symbol.startswith("@") else found.end_lineno
    return "".join(lines[_first_line(found) - 1 : last]) or None


def _find(node: ast.AST, path: Sequence[str]) -> ast.stmt | None:
    """The statement at the end of a path of names."""
    name, *rest = path
    found = next((child for child in _statements(node) if name in _names(child)), None)
    return _find(found, rest) if found and rest else found


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements within; also those in nested blocks, but not those in nested definitions."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
            if not isinstance(child, Definition):
                yield from _statements(child)


def _names(node: ast.stmt) -> set[str]:
    """The names that a statement defines; for a ``with`` block also those that it calls."""
    if isinstance(node, Definition):
        return {node.name}
    if isinstance(node, ast.With):
        parts = [part for i in node.items for part in (i.optional_vars, i.context_expr) if part]
        parts = [part.func if isinstance(part, ast.Call) else part for part in parts]
        return {part.id for part in parts if isinstance(part, ast.Name)}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _first_line(node: ast.stmt) -> int:
    # ``lineno`` of a definition is the line of its ``def`` or ``class``, below its decorators.
    decorators = node.decorator_list if isinstance(node, Definition) else []
    return min([node.lineno, *(decorator.lineno for decorator in decorators)])
