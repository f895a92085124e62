"""Builds the documentation site from this repository's files and the committed results.

`serve` also serves it; `readme` instead writes the tables of results into every README.md.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ecommerce_pipeline.errors import PipelineError
from pipeline_verification.harness.environments import ROOT
from website import pages, readmes
from website.results import Results
from website.tools import tools

SITE = ROOT / "site"
RESULTS = ROOT / "benchmarks" / "results"


def main(arguments: Sequence[str]) -> int:
    """Build, serve or write the READMEs' tables; an error is one line on stderr and status 1."""
    parser = argparse.ArgumentParser(prog="nox -s docs --", description=__doc__)
    parser.add_argument("do", nargs="?", choices=["build", "serve", "readme"], default="build")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the result files")
    parser.add_argument("--site", type=Path, default=SITE, help="folder to write the site to")
    options = parser.parse_args(arguments)
    try:
        if options.do == "readme":
            for table in readmes.readme_tables(Results(RESULTS), tools()):
                table.write()
            return 0
        build(options.results.resolve(), options.site.resolve())
    except PipelineError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    say(f"The site is {options.site / 'index.html'}; show it with: nox -s docs -- serve")
    if options.do == "serve":
        serve(options.site)
    return 0


def build(results: Path, site: Path) -> None:
    """Build the site strictly, and replace the one that was there.

    Raises:
        PipelineError: a page names what does not exist, a link is dead, or a README is out of date.
    """
    if results == RESULTS:  # the READMEs show the committed results, not those of a test
        for table in readmes.readme_tables(Results(results), tools()):
            table.check_current()
    with tempfile.TemporaryDirectory() as folder:
        pages.write(results, Path(folder))
        zensical = [sys.executable, "-m", "zensical", "build", "--strict"]
        done = subprocess.run(zensical, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.stderr.write(done.stdout + done.stderr)
            raise PipelineError("the site cannot be built", "fix what is named above")
        shutil.rmtree(site, ignore_errors=True)
        shutil.copytree(Path(folder) / "site", site)


def serve(site: Path) -> None:
    """Serve the site on a free port of 127.0.0.1 until Ctrl+C."""
    # A shell script starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with server(site) as http:
        say(f"http://127.0.0.1:{http.server_port} serves the site; Ctrl+C stops it.")
        try:
            http.serve_forever()
        except KeyboardInterrupt:
            say("")


def server(site: Path) -> ThreadingHTTPServer:
    """A server of the site, not started yet."""
    return ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base)
        """Log nothing."""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
