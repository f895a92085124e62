"""The tables of the READMEs: results, written between two marks, and held to be there."""

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
class Place:
    """A table's place in a README: between ``<!-- NAME -->`` and ``<!-- /NAME -->``."""

    readme: Path
    name: str
    table: str

    def put(self) -> None:
        """Replace what stands there.

        Raises:
            PipelineError: the README has no such place.
        """
        self.readme.write_text(self._filled())

    def must_be_current(self) -> None:
        """Insist that this table stands there.

        Raises:
            PipelineError: another one does, or the README has no such place.
        """
        if self._filled() != self.readme.read_text():
            raise PipelineError(
                f"the table {self.name!r} of {self.readme} is not that of the results",
                "write it with: nox -s docs -- readme",
            )

    def _filled(self) -> str:
        begin, end = f"<!-- {self.name} -->", f"<!-- /{self.name} -->"
        place = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
        told = self.readme.read_text()
        if not place.search(told):
            raise PipelineError(
                f"{self.readme} has no place for the table {self.name!r}", f"add {begin} and {end}"
            )
        return place.sub(lambda _: f"{self.table}\n", told)


def places(results: Results, tools: Sequence[Tool]) -> Iterator[Place]:
    """Every table of results in a README of this checkout.

    Raises:
        PipelineError: a result is missing.
    """
    yield Place(ROOT / "README.md", "results", summary.table(results, tools))
    for tool in tools:
        yield Place(tool.readme, "measured", tool_summary.measured(results, tool))
        if "<!-- dbt -->" in tool.readme.read_text():
            yield Place(tool.readme, "dbt", tool_summary.dbt(results))
        if tool.has_faults:
            yield Place(tool.readme, "faults", tool_summary.faults(results, tool))
