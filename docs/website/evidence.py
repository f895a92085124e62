"""The evidence as HTML: outcomes, measurements and faults, for every tool of this checkout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.reporting import formatting
from pipeline_verification.harness.environments import CONTROL
from website.charts import bars
from website.numbers import extent, noticed, number, quantity, ratio, spread
from website.results import CONFORMANCE, Json, Measured, Results, why
from website.tables import table
from website.tools import Tool

BADGES = "badges"
VERBS = ("pipeline", "steps", "footprint")


class Evidence:
    """What was measured of the tools."""

    def __init__(self, results: Results, tools: Sequence[Tool]) -> None:
        self._results = results
        self._tools = tools
        self._titles = [tool.title for tool in tools]

    def conformance(self) -> str:
        """Scenario by tool: equal, or why not."""
        rows = [
            [f"{escape(scenario['title'])}<br><small>{escape(scenario['rule'])}</small>"]
            + [_outcome(self._results.outcome(name, tool.name)) for tool in self._tools]
            for name, scenario in self._results.scenarios.items()
        ]
        return table("Conformance", ["scenario", *self._titles], rows)

    def badge(self, tool: Tool) -> str:
        """The tool's badge: in how many scenarios it was equal, as in ``6/6``.

        Raises:
            PipelineError: it is missing.
        """
        score = self._results.look(CONFORMANCE, "badges", tool.name)
        path = self._results.folder / BADGES / f"{tool.name}.svg"
        if not path.is_file():
            raise PipelineError(f"{path} is missing", "make it with: nox -s compare")
        return f"![{tool.title}: {score} scenarios](../results/{BADGES}/{path.name}){{ .badge }}"

    @property
    def verbs(self) -> list[str]:
        """The verbs that were measured; those of the pipeline itself first."""
        for verb in VERBS:
            self._results.read(verb)
        return [*VERBS, *(verb for verb in self._results.verbs if verb not in VERBS)]

    def title(self, name: str) -> str:
        """A result file's title."""
        title: str = self._results.look(name, "title")
        return title

    def headline(self, verb: str) -> str:
        """What a verb's first number is of."""
        case, metric, _ = self._headline(verb)
        found = self._results.look(verb, "cases", case)
        return f"{_sentence(found['description'])}: {found['metrics'][metric]['title']}"

    def measurements(self, verb: str, *, all_charts: bool = False) -> str:
        """Every case of a verb: its charts, and its table of all metrics."""
        cases = self._results.look(verb, "cases")
        return "\n\n".join(
            f"### {_sentence(name.replace('-', ' '))}\n\n"
            f"{_sentence(case['description'])}; n = {_rounds(case)}.\n\n"
            f"{self._case(verb, name, case, all_charts)}"
            for name, case in cases.items()
        )

    def provenance(self, name: str) -> str:
        """When, on what and with which versions a file's numbers were measured."""
        result = self._results.read(name)
        machine = self._results.look(name, "machine")
        return (
            f"Measured {result['date'][:10]}; {machine['cores']} cores"
            f" ({machine['cpu']}), {number(machine['memory_megabytes'] / 1024)} GB, Python"
            f" {machine['python']}. [The file](../results/{name}.json)"
        )

    def faults(self, tool: Tool) -> str:
        """What was killed, how long nobody noticed, and how the run ended."""
        rows = [
            [
                escape(fault["killed"]),
                f"<code>{escape(fault['during'])}</code>",
                noticed(fault["detected_seconds"]),
                escape(fault["completed_by"]),
                _verdict(fault["equal"], "differs"),
            ]
            for fault in self._results.look(f"faults-{tool.name}", "faults")
        ]
        header = ["killed", "during", "noticed after", "completed by", "outcome"]
        return table(f"Faults under {tool.title}", header, rows)

    def versions(self, tool: Tool) -> str:
        """The versions with which the tool was compared."""
        found = self._results.look(CONFORMANCE, "versions", tool.name)
        rows = [[escape(name), escape(version)] for name, version in found.items()]
        return table(f"Versions of {tool.title}", ["package", "version"], rows)

    def extraction(self) -> str:
        """The extraction benchmark's methods, fastest first, as a chart and a table."""
        methods = _methods(self._results.look("extract", "cases", "orders", "variants"))
        measured = sorted(
            ((name, m) for name, m in methods.items() if m["seconds"]),
            key=lambda item: item[1]["seconds"]["median"],
        )
        rows = [(name, Measured(method["seconds"])) for name, method in measured]
        failed = [(name, m) for name, m in methods.items() if not m["seconds"]]
        return (
            bars("Seconds", "s", rows)
            + "\n\n"
            + table(
                "Extraction",
                [
                    "method",
                    "seconds",
                    "ratio to floor",
                    "CPU seconds",
                    "peak MB",
                    "exact",
                ],
                [*map(_method, measured), *([escape(n), *_failed(m)] for n, m in failed)],
            )
        )

    def answer(self, verb: str) -> str:
        """A sentence for each tool: what its way costs beside the control's."""
        case, metric, unit = self._headline(verb)
        lines = (self._sentence(tool, verb, case, metric, unit) for tool in self._tools)
        return "\n".join(f"- {line}" for line in lines)

    def scenarios_held(self) -> str:
        """How many scenarios every tool passed, of how many."""
        names = list(self._results.scenarios)
        held = [n for n in names if all(self._passed(n, tool) for tool in self._tools)]
        return f"{len(held)} of {len(names)}"

    def faults_survived(self) -> str:
        """How many of the kills left a warehouse equal to one left alone, of how many."""
        killed = [
            fault["equal"]
            for tool in self._tools
            if tool.has_faults
            for fault in self._results.look(f"faults-{tool.name}", "faults")
        ]
        return f"{sum(killed)} of {len(killed)}"

    def _passed(self, scenario: str, tool: Tool) -> bool:
        return bool(self._results.outcome(scenario, tool.name)["passed"])

    def _headline(self, verb: str) -> tuple[str, str, str]:
        """The verb's first case and its first metric."""
        case, values = next(iter(self._results.look(verb, "cases").items()))
        metric, described = next(iter(values["metrics"].items()))
        return case, metric, described["unit"]

    def _sentence(self, tool: Tool, verb: str, case: str, metric: str, unit: str) -> str:
        measured = self._results.measured(verb, case, metric, tool.name)
        if measured.summary is None:
            return f"**{tool.title}**: {' '.join(measured.reason.split())}."
        times = ratio(measured.summary)
        beside = f", {times} the control" if times and tool.name != CONTROL else ""
        return f"**{tool.title}**: {spread(measured.summary, unit)}{beside}."

    def _case(self, verb: str, name: str, case: Json, all_charts: bool) -> str:
        metrics = case["metrics"].items()
        columns = self._columns(verb, case)
        measured = {
            key: [self._results.measured(verb, name, key, column) for column in columns]
            for key in dict(metrics)
        }
        titles = list(columns.values())
        charts = "".join(
            bars(metric["title"], metric["unit"], list(zip(titles, measured[key], strict=True)))
            for key, metric in list(metrics)[: None if all_charts else 1]
        )
        headings = [_heading(metric) for _, metric in metrics]
        cells = [[_cell(one) for one in measured[key]] for key, _ in metrics]
        if self._results.is_of_variants(verb):
            shown = _medians(case["description"], titles, headings, cells)
        else:
            shown = _medians(case["description"], headings, titles, zip(*cells, strict=True))
        return f'<div class="charts">{charts}</div>\n\n{shown}'

    def _columns(self, verb: str, case: Json) -> dict[str, str]:
        """The names of what a verb compares, with their titles."""
        if self._results.is_of_variants(verb):
            return {tool.name: tool.title for tool in self._tools}
        return {name: name for name in case["variants"]}


def _medians(
    title: str, columns: Sequence[str], rows: Sequence[str], cells: Iterable[Iterable[str]]
) -> str:
    """A table of medians; headings as text, cells as HTML, row by row."""
    lines = ([escape(row), *line] for row, line in zip(rows, cells, strict=True))
    return table(title, ["median, range", *columns], lines)


def _rounds(case: Json) -> int:
    """How many samples each variant has; where rounds are missing, the least of them."""
    return min(len(variant["samples"]) for variant in case["variants"].values())


def _sentence(text: str) -> str:
    """Text that begins with a capital letter."""
    return escape(text[:1].upper() + text[1:], quote=False)


def _heading(metric: Json) -> str:
    title, unit = str(metric["title"]), metric["unit"]
    return title if formatting.says_its_unit(title, unit) else f"{title}, {unit}"


def _cell(measured: Measured) -> str:
    if measured.summary is None:
        return f"<em>{_lines(measured.reason)}</em>"
    small = (extent(measured.summary), ratio(measured.summary), _lines(measured.reason))
    below = "".join(f"<br><small>{line}</small>" for line in small if line)
    return quantity(measured.summary["median"], "") + below


def _spread(summary: Json) -> str:
    return f"{number(summary['median'])}<br><small>{extent(summary)}</small>"


def _lines(text: str) -> str:
    """Text as HTML, its lines kept."""
    return escape(text).replace("\n", "<br>")


def _outcome(outcome: Json) -> str:
    seconds = formatting.duration(outcome["seconds"])
    if outcome["passed"]:
        return f"{_verdict(True, '')}<br><small>{_checks(outcome)}, {seconds}</small>"
    return f"{_verdict(False, 'differs')}<br><small>{_lines(why(outcome))}</small>"


def _checks(outcome: Json) -> str:
    number_of = len(outcome["checks"])
    return f"{number_of} check{'s' if number_of != 1 else ''}"


def _verdict(equal: bool, otherwise: str) -> str:
    return (
        '<span class="good">✓ equal</span>' if equal else f'<span class="bad">✗ {otherwise}</span>'
    )


def _method(item: tuple[str, Any]) -> list[str]:
    name, method = item
    peak, exact = method["peak_megabytes"], method["exact"]
    return [
        escape(name),
        _spread(method["seconds"]),
        f"{method['ratio_to_floor']['median']:.2f}",
        _spread(method["cpu_seconds"]),
        number(peak["max"]) if peak else "",
        "" if exact is None else escape(_exactness(exact)),
    ]


def _exactness(exact: Json) -> str:
    if exact["types"] and exact["values"]:
        return "yes"
    return f"{'values only' if exact['values'] else 'no'}: {exact['note']}"


def _failed(method: Json) -> Iterator[str]:
    yield f"<em>failed: {escape(str(method['failures'][0]))}</em>"
    yield from [""] * 4


def _methods(variants: Json) -> dict[str, Json]:
    """Each extraction method's summaries, whether its files are exact, and why samples failed."""
    metrics = ("seconds", "cpu_seconds", "peak_megabytes", "ratio_to_floor")
    return {
        name: {
            **{metric: method["summary"].get(metric) for metric in metrics},
            "exact": method.get("notes", {}).get("exact"),
            "failures": [sample["failure"] for sample in method["samples"] if sample["failure"]],
        }
        for name, method in variants.items()
    }
