"""Takes the pictures of the tools' user interfaces: runs two days, then opens them in a browser.

python docs/screenshots.py [VARIANT…]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, HttpCredentials, Page, ViewportSize
from playwright.sync_api import Error as BrowserError

from ecommerce_pipeline.context import RunSettings
from ecommerce_pipeline.datasets import load_dataset
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.harness.run_session import RunSession, empty_source
from ecommerce_pipeline.harness.variant import started
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from pipeline_verification.harness import browser
from pipeline_verification.harness.remote_variant import RemoteVariant
from website.tools import Screen, Tool, tools

IMAGES = Path(__file__).parent / "pages" / "images"
DAYS = ("2025-01-01", "2025-01-02")
SIZE: ViewportSize = {"width": 1280, "height": 800}
MAX_BYTES = 200_000
WAIT_MILLISECONDS = 120_000
SETTLE_MILLISECONDS = 8000  # a page may still draw a graph after its selector is visible
LOCAL = "file:"  # a path with this prefix is a file of the run's folder, not a page of a server


def main(arguments: Sequence[str]) -> int:
    """Take the pictures of the tools named, or of all."""
    parser = argparse.ArgumentParser(prog="nox -s screenshots --", description=__doc__)
    every = {tool.name: tool for tool in tools()}
    parser.add_argument("variant", nargs="*", help=f"any of {', '.join(every)}; default: all")
    names = parser.parse_args(arguments).variant or list(every)
    IMAGES.mkdir(parents=True, exist_ok=True)
    try:
        if unknown := set(names) - set(every):
            raise PipelineError(
                f"there is no variant {min(unknown)!r}", f"choose from {', '.join(every)}"
            )
        for name in names:
            take(every[name])
    except PipelineError as error:
        say(f"error: {error}")
        return 1
    say(f"The pictures are in {IMAGES}.")
    return 0


def take(tool: Tool) -> None:
    """Run the tool over two days and take a picture of each of its screens.

    Raises:
        PipelineError: a run fails, or a page does not show what it should.
    """
    with tempfile.TemporaryDirectory() as folder:
        run = RunDirectory(Path(folder) / tool.name)
        run.path.mkdir()
        settings = RunSettings(run, f"sqlite:///{run.source_file}")
        variant = RemoteVariant(tool.name, run.path / "host.log")
        with started(variant, settings, say), browser.chromium() as chromium:
            run_id = _run_two_days(variant, settings)
            address = next(iter(variant.addresses.values()), "")
            try:
                page = _signed_in(chromium, tool, address, run)
                for screen in tool.screens:
                    _picture(page, screen, _address(screen, address, run, run_id), tool)
            except BrowserError as error:
                reason = str(error).splitlines()
                hint = f"fix {tool.folder / 'site.toml'}"
                raise PipelineError(
                    f"a page cannot be shown: {reason[0]} {reason[-1]}", hint
                ) from None


def _run_two_days(variant: RemoteVariant, settings: RunSettings) -> str:
    """Run both days; return the tool's id of the last run."""
    empty_source(settings.source_url)
    session = RunSession(variant, settings, load_dataset("synthetic"))
    runs = session.run_day_by_day(map(DataInterval.parse, DAYS))
    if runs[-1].state != "success":
        raise PipelineError(f"a run of {variant.name} failed", "run it by hand: nox -s NAME")
    return runs[-1].run_id


def _signed_in(chromium: Browser, tool: Tool, address: str, run: RunDirectory) -> Page:
    """A page, signed in as ``sign_in`` describes, if it does: with a form, else by HTTP."""
    sign_in, credentials = tool.sign_in, None
    if sign_in and "form" not in sign_in:
        password = _password(run.tool_home, sign_in)
        credentials = HttpCredentials(username=sign_in["user"], password=password)
    page = chromium.new_page(viewport=SIZE, color_scheme="light", http_credentials=credentials)
    page.set_default_timeout(WAIT_MILLISECONDS)
    for key, value in tool.local_storage.items():
        page.add_init_script(f"localStorage.setItem({json.dumps(key)}, {json.dumps(value)})")
    if sign_in and "form" in sign_in:
        values = {"user": sign_in["user"], "password": _password(run.tool_home, sign_in)}
        page.goto(address + sign_in["form"])
        for selector, text in sign_in["fields"].items():
            page.fill(selector, text.format(**values))
        page.click(sign_in["submit"])
        page.wait_for_selector(sign_in["wait"])
    return page


def _password(home: Path, sign_in: Mapping[str, Any]) -> str:
    """The password in the tool's file: its whole text, or in a JSON file the user's value."""
    file = home / sign_in["password_file"]
    text = file.read_text()
    return str(json.loads(text)[sign_in["user"]]) if file.suffix == ".json" else text.strip()


def _address(screen: Screen, address: str, run: RunDirectory, run_id: str) -> str:
    if screen.path.startswith(LOCAL):
        return (run.path / screen.path.removeprefix(LOCAL)).as_uri()
    return address + screen.path.format(run_id=run_id)


def _picture(page: Page, screen: Screen, address: str, tool: Tool) -> None:
    page.goto(address)
    for selector in screen.clicks:
        page.click(selector)
    page.wait_for_selector(screen.wait, state="visible")
    page.wait_for_timeout(SETTLE_MILLISECONDS)
    target = IMAGES / f"{tool.name}-{screen.name}.png"
    picture = page.screenshot()
    if len(picture) > MAX_BYTES:
        raise PipelineError(
            f"{target.name} would have {len(picture):,} bytes, above {MAX_BYTES:,}",
            "show less on it",
        )
    target.write_bytes(picture)
    say(f"{tool.name}: {target.name}, {len(picture) / 1000:.0f} kB")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
