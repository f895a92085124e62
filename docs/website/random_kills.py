"""The committed results of the random kills as tables and sentences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ecommerce_pipeline.harness.variant import NATIVE, STEP_SERVER
from ecommerce_pipeline.specification import STEP_NAMES
from pipeline_verification.harness.environments import CONTROL, ROOT
from pipeline_verification.random_kills.kill import RESULTS, Kill, result_file
from website.tables import table
from website.tools import Tool


@dataclass(frozen=True)
class Run:
    """A variant in a form of its pipeline."""

    tool: Tool
    form: str

    @property
    def title(self) -> str:
        """The tool's title with the form."""
        return f"{self.tool.title}, {self.form}"

    @property
    def file(self) -> Path:
        """Where its results are committed."""
        return result_file(self.tool.name, self.form)


class RandomKills:
    """What the result files of ``nox -s kills`` say; variants without a file are left out."""

    def __init__(self, tools: Sequence[Tool], folder: Path = RESULTS) -> None:
        self._kills: dict[Run, list[Kill]] = {}
        for run in (Run(tool, form) for form in (NATIVE, STEP_SERVER) for tool in tools):
            file = folder / run.file.name
            if file.exists():
                self._kills[run] = [Kill(**kill) for kill in json.loads(file.read_text())["kills"]]

    @property
    def runs(self) -> list[Run]:
        """The variants and forms whose results are committed."""
        return list(self._kills)

    def total(self) -> str:
        """How many recovered days are equal to an undisturbed one, out of all: ``199 of 200``."""
        kills = [kill for of_one in self._kills.values() for kill in of_one]
        return f"{sum(kill.equal for kill in kills):,} of {len(kills):,}"

    def reads(self) -> str:
        """How often the reader read the published copy, and what went wrong."""
        kills = [kill for of_one in self._kills.values() for kill in of_one]
        wrong = sum(problem.startswith("the reader") for kill in kills for problem in kill.problems)
        return f"{sum(kill.reads for kill in kills):,} times, with {wrong} errors"

    def outcomes(self) -> str:
        """For each variant: how many kills, how they were recovered, how many are equal."""
        counts = {run: Counter(k.recovered_by for k in of) for run, of in self._kills.items()}
        ways = sorted({way for counted in counts.values() for way in counted})
        rows = [
            [
                escape(run.title),
                str(len(kills)),
                *(str(counts[run][way]) for way in ways),
                str(sum(kill.equal for kill in kills)),
                f"{kills[0].seed} to {kills[-1].seed}",
            ]
            for run, kills in self._kills.items()
        ]
        return table(
            "Random kills", ["variant", "kills", *map(escape, ways), "equal", "seeds"], rows
        )

    def processes(self, run: Run) -> str:
        """How often each kind of process was killed."""
        counts = Counter(kill.process for kill in self._kills[run]).most_common()
        return ", ".join(f"{escape(kind)} {count}" for kind, count in counts)

    def steps(self) -> str:
        """How often each step of each variant was at work when a process was killed."""
        counts = {
            run: Counter(step for kill in kills for step in kill.steps or ["no step"])
            for run, kills in self._kills.items()
        }
        rows = [
            [f"<code>{name}</code>" if name in STEP_NAMES else name]
            + [str(counted[name]) for counted in counts.values()]
            for name in (*STEP_NAMES, "no step")
        ]
        return table("Steps at work", ["step", *(escape(run.title) for run in counts)], rows)

    def file(self, run: Run) -> str:
        """The result file's path below the repository."""
        return str(run.file.relative_to(ROOT))

    def command(self, run: Run) -> str:
        """The command that makes the result file."""
        kills = len(self._kills[run])
        first = min(kill.seed for kill in self._kills[run])
        seed = "" if first == 1 else f" --seed {first}"
        variant = "" if run.tool.name == CONTROL else f" --variant {run.tool.name}"
        form = "" if run.form == NATIVE else f" --form {run.form}"
        return f"nox -s kills --{variant}{form} --kills {kills}{seed}"
