"""How one data interval of orders leaves PostgreSQL for Parquet, beside the alternatives.

It compares extraction methods, not variants: a method is a function in ``processes/methods.py``
that writes the orders of a database to Parquet files in a folder. The control is the floor: psql,
which receives the rows and drops them. README.md describes the benchmark and its limits.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.postgres_programs import server_programs
from ecommerce_pipeline.harness.postgres_server import running_server
from measuring import process
from measuring.options import BenchmarkOptions, BenchmarkOutcome
from measuring.plan import Case, Group, Metric, Plan, Round, Values
from measuring.sampling import measure

TITLE = "Extraction: one interval of orders from PostgreSQL to Parquet"
PROCESSES = Path(__file__).parent / "processes"
ROWS, MEMORY_ROWS, QUICK_ROWS = 2_000_000, 10_000_000, 50_000
CASE, MEMORY_CASE = "orders", "memory"
OURS, FLOOR = "ours", "\\copy"
FLOORS = {  # what psql alone needs to receive the rows and drop them
    FLOOR: "\\copy orders TO '/dev/null'",
    "\\copy, binary": "\\copy orders TO '/dev/null' (FORMAT binary)",
    "\\copy, ordered": "\\copy (SELECT * FROM orders ORDER BY updated_at, id) TO '/dev/null'",
}
METHODS = (
    OURS,
    "pandas.read_sql",
    "connectorx",
    "connectorx partitioned",
    "dlt, pyarrow",
    "dlt, connectorx",
)
PACKAGES = ("connectorx", "dlt", "pandas", "psycopg", "psycopg2-binary", "pyarrow", "sqlalchemy")
# None is compared by the plan, which divides a value by the control's: here the ratio is one of
# rates, floor over method, and of no other metric.
COST = {
    "seconds": Metric("s", "seconds", compared=False),
    "cpu_seconds": Metric("s", "CPU seconds", compared=False),
    "peak_megabytes": Metric("MB", "peak memory", compared=False),
}
RATIO = {"ratio_to_floor": Metric("", "rate over the floor's", compared=False)}


def run(options: BenchmarkOptions) -> BenchmarkOutcome:
    """Measure every method and its floor on a private PostgreSQL server.

    Raises:
        PipelineError: psql is missing, or the options name an unknown method or case.
    """
    program = psql()
    with (
        tempfile.TemporaryDirectory(prefix="bench-extract-") as folder,
        # Without fsync, filling is quicker, and reading is not affected.
        running_server(Path(folder) / "postgres", durable=False) as url,
    ):
        outcome = measure(plan(ShopServer(url, program), quick=options.quick), options)
    results = json.loads(outcome.file.read_text())
    return replace(outcome, lines=(*outcome.lines, *exactness_lines(results)))


def plan(server: ShopServer, *, quick: bool) -> Plan:
    """The methods in rounds; then, not in a quick run, our peak memory with more rows."""
    rows = QUICK_ROWS if quick else ROWS
    orders = Case(f"{rows:,} orders from PostgreSQL to Parquet", {**COST, **RATIO})
    memory = Case(f"{MEMORY_ROWS:,} orders, for the peak memory", COST)
    return Plan(
        "extract",
        TITLE,
        (Group({CASE: orders}, partial(session, server=server, rows=rows)),),
        ratio_to_floor,
        variants=(*FLOORS, *METHODS),
        control=FLOOR,
        # After all rounds: the server then holds other orders.
        once=()
        if quick
        else (
            Group(
                {MEMORY_CASE: memory},
                partial(session, server=server, rows=MEMORY_ROWS),
                variants=(OURS,),
            ),
        ),
    )


def ratio_to_floor(method: Round, floor: Round) -> dict[str, Values]:
    """The method's rows a second over the floor's in the same round."""
    if CASE not in method or CASE not in floor:
        return {}
    ratio = floor[CASE]["seconds"] / method[CASE]["seconds"]
    return {CASE: {"ratio_to_floor": round(ratio, 3)}}


@dataclass(slots=True)
class ShopServer:
    """A PostgreSQL server with the table of orders.

    Attributes:
        url: of its database.
        psql: the path of psql.
        rows: how many orders it holds now.
        compared: the methods whose files were compared with these orders.
    """

    url: str
    psql: str
    rows: int = 0
    compared: set[str] = field(default_factory=set)

    def fill(self, rows: int) -> None:
        """Replace the orders unless there are as many already: the same number, the same orders."""
        if self.rows != rows:
            self.rows = 0
            _child(self.url, "shop.py", "fill", str(rows))
            self.rows = rows


@dataclass(slots=True)
class ExtractionSession:
    """One method or floor with an empty folder.

    Attributes:
        name: a name of ``FLOORS`` or ``METHODS``.
        folder: for the files.
        server: the source, filled.
        versions: of psql for a floor, else of the packages.
        notes: ``exact``, whether a method's first files have the source's types and values.
    """

    name: str
    folder: Path
    server: ShopServer
    versions: Mapping[str, str]
    notes: dict[str, Any] = field(default_factory=dict)

    def measure(self, case: str) -> Values:
        """Run the method in a fresh process."""
        if self.name in FLOORS:
            return self._floor()
        values = self._method()
        if case == CASE and self.name not in self.server.compared:
            self.notes["exact"] = self._exactness()
            self.server.compared.add(self.name)
        return values

    def _floor(self) -> Values:
        """Let psql receive the rows and drop them; the clock runs from its start to its end."""
        url = urlsplit(self.server.url)
        variables = {
            "PGHOST": url.hostname or "",
            "PGPORT": str(url.port),
            "PGUSER": url.username or "",
            "PGPASSWORD": url.password or "",
            "PGDATABASE": url.path.lstrip("/"),
        }
        ended = process.run(
            [self.server.psql, "-X", "-q", "-c", FLOORS[self.name]], variables, self.folder
        )
        # No peak memory: the kernel counts a process before it becomes the program, and as a copy
        # of ours it is larger than psql ever gets.
        return {"seconds": ended.seconds, "cpu_seconds": ended.cpu_seconds}

    def _method(self) -> Values:
        """Run the method; its own clock leaves imports out."""
        command = [sys.executable, str(PROCESSES / "methods.py"), self.name, str(self.folder)]
        ended = process.run(command, {"BENCHMARK_URL": self.server.url}, self.folder)
        return {
            "seconds": float(ended.output.splitlines()[-1]),
            "cpu_seconds": ended.cpu_seconds,
            "peak_megabytes": ended.peak_megabytes,
        }

    def _exactness(self) -> Any:  # noqa: ANN401 (JSON)
        """Compare the files with the source."""
        arguments = "check", str(self.folder / "landing"), str(self.server.rows)
        return json.loads(_child(self.server.url, "shop.py", *arguments))


@contextmanager
def session(
    name: str, folder: Path, server: ShopServer, *, rows: int
) -> Iterator[ExtractionSession]:
    """Fill the server where it holds other orders; outside the clock."""
    server.fill(rows)
    yield ExtractionSession(name, folder, server, versions(name, server.psql))


def versions(name: str, program: str) -> dict[str, str]:
    """Of psql for a floor, of the packages for a method."""
    if name not in FLOORS:
        return {package: metadata.version(package) for package in PACKAGES}
    asked = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return {"psql": asked.stdout.strip()}


def exactness_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """A line for each method: whether its files have the source's types and values."""
    for name, method in results["cases"].get(CASE, {"variants": {}})["variants"].items():
        if "notes" in method:
            yield f"{name}: {exactness(method['notes']['exact'])}"


def exactness(exact: Mapping[str, Any]) -> str:
    """Whether the files equal the source, in words."""
    if exact["types"] and exact["values"]:
        return "types and values as in the source"
    return f"{'values only' if exact['values'] else 'differs'}: {exact['note']}"


def _child(url: str, script: str, *arguments: str) -> str:
    """Run a script in a separate process.

    Within this process it would enlarge it, and the kernel counts a measured process's peak memory
    from the moment at which it is still a copy of this one.
    """
    return subprocess.run(
        [sys.executable, str(PROCESSES / script), *arguments],
        env={**os.environ, "BENCHMARK_URL": url},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def psql() -> str:
    """The path of psql, which only the floors need: an installed one, or the server package's.

    Raises:
        PipelineError: there is neither.
    """
    with server_programs(None) as programs:
        program = shutil.which("psql") or shutil.which("psql", path=str(programs))
    if program is None:
        raise PipelineError("psql is not installed, and the floor needs it", "install it")
    return program
