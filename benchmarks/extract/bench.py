"""Measure how one data interval of orders leaves PostgreSQL for Parquet, beside the alternatives.

See README.md for the method and its limits.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

import report
from machine import describe, psql

from ecommerce_pipeline.source.postgres_server import running_server

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results" / "extract.json"
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
TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: a process of its own. ``failure`` is why there are no numbers."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_megabytes: float | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """What is measured, how often, and where the server and the files lie."""

    rows: int
    repeats: int
    folder: Path
    url: str


def main() -> None:
    """Measure, write the results as JSON, and print them as a table."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-extract-") as folder:
        results = measure(arguments, Path(folder))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(report.lines(results)))  # noqa: T201 (the command's own output)


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Fill a new server, and run every method in turn, as often as asked."""
    with running_server(folder / "postgres", durable=False) as url:
        settings = Settings(arguments.rows, arguments.repeats, folder, url)
        _child(settings, "shop.py", "fill", str(settings.rows))
        samples: dict[str, list[Sample]] = {name: [] for name in (*FLOORS, *METHODS)}
        exactness = {}
        for repeat in range(settings.repeats):
            for name, runs in samples.items():
                sample = run_floor(settings, name) if name in FLOORS else run_method(settings, name)
                runs.append(sample)
                _progress(f"{repeat + 1}/{settings.repeats} {name}: {sample}")
                if name in METHODS and repeat == 0 and sample.failure is None:
                    exactness[name] = check(settings)
        memory = run_memory(settings, arguments.memory_rows) if arguments.memory_rows else None
    return {
        "schema_version": SCHEMA_VERSION,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "rows": settings.rows,
        "repeats": settings.repeats,
        "floor": FLOOR,
        "methods": dict(summaries(samples, exactness)),
        "memory": memory,
    }


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
    command = [sys.executable, str(HERE / "methods.py"), name, str(output)]
    sample, printed = _run(command, {"BENCHMARK_URL": settings.url}, settings.folder)
    return sample if sample.failure else replace(sample, seconds=float(printed.splitlines()[-1]))


def run_memory(settings: Settings, rows: int) -> dict[str, object]:
    """Whether our peak memory stays where it was with this many rows."""
    _child(settings, "shop.py", "fill", str(rows))
    sample = run_method(settings, "ours")
    _progress(f"{rows} rows: {sample}")
    return {"rows": rows, "method": "ours", **asdict(sample)}


def check(settings: Settings) -> object:
    """Compare what the method just landed with the source."""
    landing = settings.folder / "output" / "landing"
    return json.loads(_child(settings, "shop.py", "check", str(landing), str(settings.rows)))


def _run(command: list[str], variables: Mapping[str, str], folder: Path) -> tuple[Sample, str]:
    """Run a process to its end; the sample holds its wall time, CPU time and peak memory."""
    with (folder / "stdout").open("w+") as out, (folder / "stderr").open("w+") as err:
        begun = time.perf_counter()
        process = subprocess.Popen(command, env={**os.environ, **variables}, stdout=out, stderr=err)
        overdue = threading.Timer(TIMEOUT_SECONDS, process.kill)
        overdue.start()
        _, status, usage = os.wait4(process.pid, 0)  # unlike wait(), it says what was used
        seconds = time.perf_counter() - begun
        overdue.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            reason = err.read().strip().splitlines() or ["no message"]
            return Sample(failure=f"exit {process.returncode}: {reason[-1]}"), ""
        cpu = usage.ru_utime + usage.ru_stime
        return Sample(round(seconds, 3), round(cpu, 3), round(usage.ru_maxrss / 1024)), out.read()


def _child(settings: Settings, script: str, *arguments: str) -> str:
    """Run a script in a process of its own: a parent that grows would show in its children."""
    return subprocess.run(
        [sys.executable, str(HERE / script), *arguments],
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


def _spread(values: Sequence[float | None]) -> dict[str, float] | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {
        "median": round(statistics.median(known), 3),
        "min": round(min(known), 3),
        "max": round(max(known), 3),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="orders in the interval")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, each with every method")
    parser.add_argument("--memory-rows", type=int, help="run ours once more, with this many orders")
    parser.add_argument(
        "--quick", action="store_true", help="50,000 orders once: does it still run?"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.rows, arguments.repeats = 50_000, 1
    return arguments


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 (the command's own output)


if __name__ == "__main__":
    main()
