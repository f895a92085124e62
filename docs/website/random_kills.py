"""The committed results of the random kills as tables and sentences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ecommerce_pipeline.specification import STEP_NAMES
from pipeline_verification.harness.environments import CONTROL, ROOT
from pipeline_verification.random_kills.kill import RESULTS, Kill, result_file
from website.tables import table
from website.tools import Tool


class RandomKills:
    """What the result files of ``nox -s kills`` say; variants without a file are left out."""

    def __init__(self, tools: Sequence[Tool], folder: Path = RESULTS) -> None:
        self._kills: dict[Tool, list[Kill]] = {}
        for tool in tools:
            file = folder / result_file(tool.name).name
            if file.exists():
                self._kills[tool] = [Kill(**kill) for kill in json.loads(file.read_text())["kills"]]

    @property
    def variants(self) -> list[Tool]:
        """The variants whose results are committed."""
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
        counts = {tool: Counter(k.recovered_by for k in of) for tool, of in self._kills.items()}
        ways = sorted({way for counted in counts.values() for way in counted})
        rows = [
            [
                escape(tool.title),
                str(len(kills)),
                *(str(counts[tool][way]) for way in ways),
                str(sum(kill.equal for kill in kills)),
                f"{kills[0].seed} to {kills[-1].seed}",
            ]
            for tool, kills in self._kills.items()
        ]
        return table(
            "Random kills", ["variant", "kills", *map(escape, ways), "equal", "seeds"], rows
        )

    def processes(self, tool: Tool) -> str:
        """How often each kind of process was killed."""
        counts = Counter(kill.process for kill in self._kills[tool]).most_common()
        return ", ".join(f"{escape(kind)} {count}" for kind, count in counts)

    def steps(self) -> str:
        """How often each step of each variant was at work when a process was killed."""
        counts = {
            tool: Counter(step for kill in kills for step in kill.steps or ["no step"])
            for tool, kills in self._kills.items()
        }
        rows = [
            [f"<code>{name}</code>" if name in STEP_NAMES else name]
            + [str(counted[name]) for counted in counts.values()]
            for name in (*STEP_NAMES, "no step")
        ]
        return table("Steps at work", ["step", *(escape(tool.title) for tool in counts)], rows)

    def file(self, tool: Tool) -> str:
        """The result file's path below the repository."""
        return str(result_file(tool.name).relative_to(ROOT))

    def command(self, tool: Tool) -> str:
        """The command that makes the result file."""
        kills = len(self._kills[tool])
        first = min(kill.seed for kill in self._kills[tool])
        seed = "" if first == 1 else f" --seed {first}"
        variant = "" if tool.name == CONTROL else f" --variant {tool.name}"
        return f"nox -s kills --{variant} --kills {kills}{seed}"
