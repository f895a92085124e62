"""How one data interval of orders leaves PostgreSQL for Parquet, beside the alternatives.

It measures methods, not variants: a method is a function in ``methods.py`` that brings the orders
of the URL to Parquet files in a folder. The results have a shape of their own. See README.md for
the method and its limits.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from definitions.extract import report
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.files.atomic import atomic_file
from ecommerce_pipeline.harness.postgres_programs import server_programs
from ecommerce_pipeline.harness.postgres_server import running_server
from measuring import partial, process
from measuring.identity import identity
from measuring.options import Options, Outcome, chosen
from measuring.partial import Partial
from measuring.report import say
from measuring.summary import spread
from pipeline_verification.harness.machine import describe

TITLE = "Extraction: one interval of orders from PostgreSQL to Parquet"
PROCESSES = Path(__file__).parent / "processes"
ROWS, MEMORY_ROWS, QUICK_ROWS = 2_000_000, 10_000_000, 50_000
CASE, MEMORY_CASE = "orders", "memory"
SCHEMA_VERSION = 1
FLOOR = "\\copy"
FLOORS = {  # what psql alone needs to receive the rows and drop them
    FLOOR: "\\copy orders TO '/dev/null'",
    "\\copy, binary": "\\copy orders TO '/dev/null' (FORMAT binary)",
    "\\copy, ordered": "\\copy (SELECT * FROM orders ORDER BY updated_at, id) TO '/dev/null'",
}
METHODS = (
    "ours",
    "pandas.read_sql",
    "connectorx",
    "connectorx partitioned",
    "dlt, pyarrow",
    "dlt, connectorx",
)
PACKAGES = ("connectorx", "dlt", "pandas", "psycopg", "psycopg2-binary", "pyarrow", "sqlalchemy")


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: a process of its own. ``failure`` is why there are no numbers."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_megabytes: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured, and where the server and the files lie."""

    rows: int
    folder: Path
    url: str


def run(options: Options) -> Outcome:
    """Measure and write the results as JSON.

    Raises:
        PipelineError: psql is missing, or variants are asked for, of which this verb knows none.
    """
    chosen("variant", options.variants, [])
    chosen("case", options.cases, [CASE])
    describes = identity("extract", quick=options.quick)
    samples = Partial.open(
        options.partial / "extract.partial.json", describes, say, fresh=options.fresh
    )
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as folder:
        values = measure(options, samples, Path(folder))
    file = options.out / "extract.json"
    with atomic_file(file, point="record") as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")
    if options.whole:
        samples.file.unlink(missing_ok=True)
    failures = sum(len(method["failures"]) for method in values["methods"].values())
    return Outcome(file, tuple(report.lines(values)), failures)


def measure(options: Options, samples: Partial, folder: Path) -> dict[str, Any]:
    """Fill a new server, and run every method in turn, as often as asked."""
    version = subprocess.run([psql(), "--version"], capture_output=True, text=True, check=True)
    with running_server(folder / "postgres", durable=False) as url:
        settings = Settings(QUICK_ROWS if options.quick else ROWS, folder, url)
        _child(settings, "shop.py", "fill", str(settings.rows))
        for number in range(1, options.rounds + 1):
            for name in (*FLOORS, *METHODS):
                if not samples.has(CASE, name, number):
                    _take(settings, samples, name, number)
        if not options.quick and not samples.has(MEMORY_CASE, "ours", 1):
            samples.add(MEMORY_CASE, "ours", run_memory(settings, MEMORY_ROWS))
    by_method = {name: list(map(_sample, samples.of(CASE, name))) for name in (*FLOORS, *METHODS)}
    memory = [asdict(_sample(sample)) for sample in samples.of(MEMORY_CASE, "ours")]
    return {
        "schema_version": SCHEMA_VERSION,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {**describe(), "psql": version.stdout.strip()},
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "rows": settings.rows,
        "repeats": options.rounds,
        "floor": FLOOR,
        "methods": dict(summaries(by_method, samples.notes)),
        "memory": {"rows": MEMORY_ROWS, "method": "ours", **memory[0]} if memory else None,
    }


def _take(settings: Settings, samples: Partial, name: str, number: int) -> None:
    """Take one sample; a method's first files are held against the source."""
    sample = run_floor(settings, name) if name in FLOORS else run_method(settings, name)
    if name in METHODS and name not in samples.notes and sample.failure is None:
        samples.notes[name] = check(settings)
    samples.add(CASE, name, _kept(sample, number))
    shown = f"FAILED {sample.failure}" if sample.failure else f"{sample.seconds:.2f} s"
    say(f"extract  round {number}  {name:<24} {shown}")


def _kept(sample: Sample, number: int) -> partial.Sample:
    numbers = {name: value for name, value in asdict(sample).items() if isinstance(value, float)}
    return partial.Sample(number, numbers, sample.failure)


def _sample(kept: partial.Sample) -> Sample:
    return Sample(failure=kept.failure, **kept.values)


def run_floor(settings: Settings, name: str) -> Sample:
    """Let psql receive the rows and drop them; the clock runs from its start to its end."""
    url = urlsplit(settings.url)
    server = {
        "PGHOST": url.hostname or "",
        "PGPORT": str(url.port),
        "PGUSER": url.username or "",
        "PGPASSWORD": url.password or "",
        "PGDATABASE": url.path.lstrip("/"),
    }
    command = [psql(), "-X", "-q", "-c", FLOORS[name]]
    sample, _ = _run(command, server, settings.folder)
    return replace(sample, peak_megabytes=None)  # psql is smaller than the process that starts it


def run_method(settings: Settings, name: str) -> Sample:
    """Run one method in a fresh process and an empty folder; its own clock leaves imports out."""
    output = settings.folder / "output"
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    command = [sys.executable, str(PROCESSES / "methods.py"), name, str(output)]
    sample, printed = _run(command, {"BENCHMARK_URL": settings.url}, settings.folder)
    return sample if sample.failure else replace(sample, seconds=float(printed.splitlines()[-1]))


def run_memory(settings: Settings, rows: int) -> partial.Sample:
    """Whether our peak memory stays where it was with this many rows."""
    say(f"extract  {rows:,} rows, for the peak memory")
    _child(settings, "shop.py", "fill", str(rows))
    return _kept(run_method(settings, "ours"), 1)


def check(settings: Settings) -> object:
    """Compare what the method just landed with the source."""
    landing = settings.folder / "output" / "landing"
    return json.loads(_child(settings, "shop.py", "check", str(landing), str(settings.rows)))


def _run(command: list[str], variables: Mapping[str, str], folder: Path) -> tuple[Sample, str]:
    """Run a process to its end; the sample holds its wall time, CPU time and peak memory."""
    try:
        ended = process.run(command, variables, folder)
    except PipelineError as error:
        return Sample(failure=error.message), ""
    numbers = round(ended.seconds, 3), round(ended.cpu_seconds, 3), ended.peak_megabytes
    return Sample(*numbers), ended.output


def _child(settings: Settings, script: str, *arguments: str) -> str:
    """Run a script in a process of its own: a parent that grows would show in its children."""
    return subprocess.run(
        [sys.executable, str(PROCESSES / script), *arguments],
        env={**os.environ, "BENCHMARK_URL": settings.url},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def summaries(
    samples: Mapping[str, list[Sample]], exactness: Mapping[str, object]
) -> Iterator[tuple[str, dict[str, object]]]:
    """Each method's median, least and greatest, and its rate against the floor of its round."""
    floor = [sample.seconds for sample in samples[FLOOR]]
    for name, runs in samples.items():
        ratios = [
            base / run.seconds
            for base, run in zip(floor, runs, strict=True)
            if base and run.seconds
        ]
        yield (
            name,
            {
                "seconds": _spread([run.seconds for run in runs]),
                "cpu_seconds": _spread([run.cpu_seconds for run in runs]),
                "peak_megabytes": _spread([run.peak_megabytes for run in runs]),
                "ratio_to_floor": _spread(ratios),
                "exact": exactness.get(name),
                "failures": [run.failure for run in runs if run.failure],
                "samples": [asdict(run) for run in runs],
            },
        )


def _spread(values: Iterable[float | None]) -> dict[str, float] | None:
    return spread([value for value in values if value is not None])


def psql() -> str:
    """The path of psql, which only the floor needs: an installed one, or the server package's.

    Raises:
        PipelineError: there is neither.
    """
    with server_programs(None) as programs:
        program = shutil.which("psql") or shutil.which("psql", path=str(programs))
    if program is None:
        raise PipelineError("psql is not installed, and the floor is what it does", "install it")
    return program
