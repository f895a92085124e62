"""The evidence as HTML: conformance, measurements and injected faults of every variant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.reporting import formatting
from ecommerce_pipeline.reporting.formatting import (
    number,
    quantity,
    ratio,
    seconds_or_never,
    spread,
    value_range,
)
from pipeline_verification.harness.environments import CONTROL
from website.charts import bars
from website.results import Json, Measured, Results, why
from website.tables import table
from website.tools import Tool

BADGES = "badges"
BENCHMARKS = ("pipeline", "steps", "footprint")


class Evidence:
    """Tables, charts and sentences made from the committed results."""

    def __init__(self, results: Results, tools: Sequence[Tool]) -> None:
        self._results = results
        self._tools = tools
        self._titles = [tool.title for tool in tools]

    @property
    def forms(self) -> dict[str, str]:
        """The conformance results by the form of the pipelines."""
        return self._results.conformance

    def conformance(self, form: str) -> str:
        """Scenario by tool: equal, or why not."""
        name = self.forms[form]
        rows = [
            [f"{escape(found['title'])}<br><small>{escape(found['rule'])}</small>"]
            + [_outcome(self._results.outcome(name, scenario, tool.name)) for tool in self._tools]
            for scenario, found in self._results.scenarios(name).items()
        ]
        return table(f"Conformance, {form}", ["scenario", *self._titles], rows)

    def badge(self, tool: Tool) -> str:
        """The tool's badge with its score: in how many scenarios its data are equal, as in ``6/6``.

        Raises:
            PipelineError: it is missing.
        """
        score = self._results.get(self._results.main_conformance, "badges", tool.name)
        path = self._results.folder / BADGES / f"{tool.name}.svg"
        if not path.is_file():
            raise PipelineError(f"{path} is missing", "make it with: nox -s compare")
        return f"![{tool.title}: {score} scenarios](../results/{BADGES}/{path.name}){{ .badge }}"

    @property
    def benchmarks(self) -> list[str]:
        """The benchmarks of all variants, those of ``BENCHMARKS`` first.

        Raises:
            PipelineError: one of ``BENCHMARKS`` was not measured.
        """
        for benchmark in BENCHMARKS:
            self._results.read(benchmark)
        others = (name for name in self._results.benchmarks if name not in BENCHMARKS)
        return [*BENCHMARKS, *others]

    def title(self, name: str) -> str:
        """A result file's title."""
        title: str = self._results.get(name, "title")
        return title

    def main_metric(self, benchmark: str) -> str:
        """What a benchmark's first case and its first metric are."""
        case, metric, _ = self._main_metric(benchmark)
        found = self._results.get(benchmark, "cases", case)
        return f"{_sentence(found['description'])}: {found['metrics'][metric]['title']}"

    def measurements(self, benchmark: str, *, all_charts: bool = False) -> str:
        """Every case of a benchmark: its charts, and its table of all metrics."""
        cases = self._results.get(benchmark, "cases")
        return "\n\n".join(
            f"### {_sentence(name.replace('-', ' '))}\n\n"
            f"{_sentence(case['description'])}; n = {_rounds(case)}{_earlier(case)}.\n\n"
            f"{self._case(benchmark, name, case, all_charts)}"
            for name, case in cases.items()
        )

    def provenance(self, name: str) -> str:
        """When and on which machine a file's numbers were measured, with a link to the file."""
        result = self._results.read(name)
        machine = self._results.get(name, "machine")
        return (
            f"Measured {result['date'][:10]}; {machine['cores']} cores"
            f" ({machine['cpu']}), {number(machine['memory_megabytes'] / 1024)} GB, Python"
            f" {machine['python']}. [Result file](../results/{name}.json)"
        )

    def faults(self, tool: Tool) -> str:
        """Per injected fault: the killed process, when the tool noticed, and how the run ended."""
        rows = [
            [
                form,
                escape(fault["killed"]),
                f"<code>{escape(fault['during'])}</code>",
                seconds_or_never(fault["detected_seconds"]),
                escape(fault["completed_by"]),
                _verdict(fault["equal"], "differs"),
            ]
            for form, faults in self._results.faults(tool.name).items()
            for fault in faults
        ]
        header = ["form", "killed", "during", "noticed after", "completed by", "outcome"]
        return table(f"Faults injected under {tool.title}", header, rows)

    def versions(self, tool: Tool) -> str:
        """The versions of the packages in the conformance run."""
        found = self._results.get(self._results.main_conformance, "versions", tool.name)
        rows = [[escape(name), escape(version)] for name, version in found.items()]
        return table(f"Versions of {tool.title}", ["package", "version"], rows)

    def extraction(self) -> str:
        """The extraction benchmark's methods, fastest first, as a chart and a table."""
        methods = _methods(self._results.get("extract", "cases", "orders", "variants"))
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

    def answer(self, benchmark: str) -> str:
        """A sentence for each tool: its main metric, and the ratio to the control's."""
        case, metric, unit = self._main_metric(benchmark)
        lines = (self._sentence(tool, benchmark, case, metric, unit) for tool in self._tools)
        return "\n".join(f"- {line}" for line in lines)

    def scenarios_passed(self) -> str:
        """How many scenarios every tool passed, out of all and in all forms: ``5 of 6``."""
        runs = [(n, s) for n in self.forms.values() for s in self._results.scenarios(n)]
        passed = [run for run in runs if all(self._passed(*run, tool) for tool in self._tools)]
        return f"{len(passed)} of {len(runs)}"

    def faults_with_equal_data(self) -> str:
        """How many killed runs left a warehouse equal to an undisturbed run's, out of all."""
        killed = [
            fault["equal"]
            for tool in self._tools
            if tool.has_faults
            for faults in self._results.faults(tool.name).values()
            for fault in faults
        ]
        return f"{sum(killed)} of {len(killed)}"

    def _passed(self, conformance: str, scenario: str, tool: Tool) -> bool:
        outcome = self._results.outcome(conformance, scenario, tool.name)
        return outcome is None or bool(outcome["passed"])

    def _main_metric(self, benchmark: str) -> tuple[str, str, str]:
        """The benchmark's first case and its first metric."""
        case, values = next(iter(self._results.get(benchmark, "cases").items()))
        metric, described = next(iter(values["metrics"].items()))
        return case, metric, described["unit"]

    def _sentence(self, tool: Tool, benchmark: str, case: str, metric: str, unit: str) -> str:
        measured = self._results.measured(benchmark, case, metric, tool.name)
        if measured.summary is None:
            return f"**{tool.title}**: {' '.join(measured.reason.split())}."
        factor = ratio(measured.summary)
        comparison = f", {factor} the control" if factor and tool.name != CONTROL else ""
        return f"**{tool.title}**: {spread(measured.summary, unit)}{comparison}."

    def _case(self, benchmark: str, name: str, case: Json, all_charts: bool) -> str:
        metrics = case["metrics"].items()
        columns = self._columns(benchmark, name, case)
        measured = {
            key: [self._results.measured(benchmark, name, key, column) for column in columns]
            for key in dict(metrics)
        }
        titles = list(columns.values())
        charts = "".join(
            bars(metric["title"], metric["unit"], list(zip(titles, measured[key], strict=True)))
            for key, metric in list(metrics)[: None if all_charts else 1]
        )
        headings = [_heading(metric) for _, metric in metrics]
        cells = [[_cell(one) for one in measured[key]] for key, _ in metrics]
        if self._results.is_of_variants(benchmark):
            shown = _medians(case["description"], titles, headings, cells)
        else:
            shown = _medians(case["description"], headings, titles, zip(*cells, strict=True))
        return f'<div class="charts">{charts}</div>\n\n{shown}'

    def _columns(self, benchmark: str, name: str, case: Json) -> dict[str, str]:
        """What a case of a benchmark compares, by name, with the titles to show."""
        if self._results.is_of_variants(benchmark):
            found = [tool for tool in self._tools if self._results.applies(name, tool.name)]
            return {tool.name: tool.title for tool in found}
        return {name: name for name in case["variants"]}


def _medians(
    title: str, columns: Sequence[str], rows: Sequence[str], cells: Iterable[Iterable[str]]
) -> str:
    """A table of medians; headings as text, cells as HTML, row by row."""
    lines = ([escape(row), *line] for row, line in zip(rows, cells, strict=True))
    return table(title, ["median, range", *columns], lines)


def _earlier(case: Json) -> str:
    """When a case was measured, where that was before the others of its file."""
    found = case.get("measured")
    return f"; measured {found['date'][:10]}, before the other cases" if found else ""


def _rounds(case: Json) -> int:
    """How many samples each variant has; the minimum where they differ."""
    return min(len(variant["samples"]) for variant in case["variants"].values())


def _sentence(text: str) -> str:
    """The text with its first letter in upper case."""
    return escape(text[:1].upper() + text[1:], quote=False)


def _heading(metric: Json) -> str:
    title, unit = str(metric["title"]), metric["unit"]
    return title if formatting.says_its_unit(title, unit) else f"{title}, {unit}"


def _cell(measured: Measured) -> str:
    if measured.summary is None:
        return f"<em>{_lines(measured.reason)}</em>"
    small = (value_range(measured.summary), ratio(measured.summary), _lines(measured.reason))
    below = "".join(f"<br><small>{line}</small>" for line in small if line)
    return quantity(measured.summary["median"], "") + below


def _spread(summary: Json) -> str:
    return f"{number(summary['median'])}<br><small>{value_range(summary)}</small>"


def _lines(text: str) -> str:
    """Text as HTML that keeps its line breaks."""
    return escape(text).replace("\n", "<br>")


def _outcome(outcome: Json | None) -> str:
    if outcome is None:
        return "has no such form"
    seconds = formatting.duration(outcome["seconds"])
    if outcome["passed"]:
        return f"{_verdict(True, '')}<br><small>{_checks(outcome)}, {seconds}</small>"
    return f"{_verdict(False, 'differs')}<br><small>{_lines(why(outcome))}</small>"


def _checks(outcome: Json) -> str:
    count = len(outcome["checks"])
    return f"{count} check{'s' if count != 1 else ''}"


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
    # ``types`` without ``values`` is a "no": a right type says nothing about a wrong value.
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
