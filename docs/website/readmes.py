"""The tables of results in the READMEs: written between two comments, and checked there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from pipeline_verification.harness.environments import ROOT
from website import summary, tool_summary
from website.results import Results
from website.tools import Tool


@dataclass(frozen=True, slots=True)
class ReadmeTable:
    """A table of a README, between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""

    readme: Path
    name: str
    table: str

    def write(self) -> None:
        """Replace the README's table with this one.

        Raises:
            PipelineError: the README has no such comments.
        """
        self.readme.write_text(self._new_text())

    def check_current(self) -> None:
        """Compare the README's table with this one.

        Raises:
            PipelineError: they differ, or the README has no such comments.
        """
        if self._new_text() != self.readme.read_text():
            raise PipelineError(
                f"the table {self.name!r} of {self.readme} is not that of the results",
                "write it with: nox -s docs -- readme",
            )

    def _new_text(self) -> str:
        begin, end = f"<!-- {self.name} -->", f"<!-- /{self.name} -->"
        between = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
        text = self.readme.read_text()
        if not between.search(text):
            raise PipelineError(
                f"{self.readme} has no place for the table {self.name!r}", f"add {begin} and {end}"
            )
        # A function, as a replacement string would read the table's backslashes as escapes.
        return between.sub(lambda _: f"{self.table}\n", text)


def readme_tables(results: Results, tools: Sequence[Tool]) -> Iterator[ReadmeTable]:
    """Every table of results in a README of this checkout.

    Raises:
        PipelineError: a result is missing.
    """
    yield ReadmeTable(ROOT / "README.md", "results", summary.table(results, tools))
    for tool in tools:
        yield ReadmeTable(tool.readme, "measured", tool_summary.measured(results, tool))
        if "<!-- dbt -->" in tool.readme.read_text():
            yield ReadmeTable(tool.readme, "dbt", tool_summary.dbt(results))
        if tool.has_faults:
            yield ReadmeTable(tool.readme, "faults", tool_summary.faults(results, tool))
