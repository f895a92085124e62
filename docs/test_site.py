"""The built site in a real browser: links, tabs, search, charts, widths, contrast, keyboard."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlparse
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Error, Page

import build
import samples
from conftest import Served
from website.tools import tools

SEARCHES = 6
TITLES = [tool.title for tool in tools()]
# Paints the colours on a canvas, as a style may name them in any notation and with alpha.
CONTRAST = """
selector => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (...colours) => {
    for (const colour of colours) { paint.fillStyle = colour; paint.fillRect(0, 0, 1, 1); }
    return [...paint.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const element = document.querySelector(selector);
  const style = getComputedStyle(element);
  const colour = element instanceof SVGElement ? style.fill : style.color;
  const behind = [];
  for (let at = element; at; at = at.parentElement) {
    behind.unshift(getComputedStyle(at).backgroundColor);
  }
  const [text, back] = [light(over("white", ...behind, colour)), light(over("white", ...behind))];
  return (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
}
"""


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A page in a new context, so that no choice is remembered from another test."""
    context = chromium.new_context()
    yield context.new_page()
    context.close()


def test_there_is_a_page_for_everything(site: Path) -> None:
    """The site has exactly the pages of its navigation."""
    evidence = ["conformance", "benchmarks", "extract", "dbt", "faults", "method"]
    assert {file.parent.relative_to(site).as_posix() for file in site.rglob("index.html")} == {
        *(
            ".",
            "side-by-side",
            "specification",
            "data-sets",
            "source-databases",
            "reading",
            "environment",
            "where-things-are",
            "fifth-tool",
        ),
        *(f"evidence/{name}" for name in evidence),
        *(f"tools/{tool.name}" for tool in tools()),
    }


def test_every_link_leads_somewhere(page: Page, served: Served) -> None:
    """Each link within the site ends at a file of it, and at an anchor where it names one."""
    links: set[str] = set()
    anchors: dict[str, set[str]] = {}
    for url in served.pages:
        page.goto(url)
        found = page.eval_on_selector_all("a[href]", "all => all.map(a => a.getAttribute('href'))")
        links |= {urljoin(url, link) for link in found}
        names = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
        anchors[url] = set(names)
    within = {link for link in links if link.startswith(served.address)}
    assert len(within) > len(served.pages)
    for link in within:
        url, anchor = urldefrag(link)
        target = served.site / unquote(urlparse(url).path).lstrip("/")
        assert target.is_file() or (target / "index.html").is_file(), link
        assert not anchor or unquote(anchor) in anchors[url], link


def test_no_request_leaves_this_machine(page: Page, served: Served) -> None:
    """No page of the site makes a request beyond its server, or logs an error."""
    requests: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "console", lambda m: problems.append(m.text) if m.type in {"error", "warning"} else None
    )
    page.on(
        "response", lambda r: problems.append(f"{r.status} {r.url}") if r.status >= 400 else None
    )
    for url in served.pages:
        page.goto(url, wait_until="networkidle")
    assert len(requests) > len(served.pages)
    assert [u for u in requests if not u.startswith((served.address, "data:", "blob:"))] == []
    assert problems == []


def test_choosing_a_tool_in_one_place_chooses_it_in_all(page: Page, address: str) -> None:
    """A click on a tool's tab shows that tool's code in every set of tabs."""
    page.goto(f"{address}/side-by-side/")
    sets = page.locator(".tabbed-set")
    assert sets.count() > 3
    for title in (TITLES[-1], TITLES[1]):
        sets.nth(1).locator(".tabbed-labels > *", has_text=title).click()
        chosen = page.locator(".tabbed-set > input:checked")
        places = chosen.evaluate_all("all => all.map(i => i.id.split('_').pop())")
        assert places == [str(TITLES.index(title) + 1)] * sets.count()
        shown = page.locator(".tabbed-block:visible")
        assert shown.count() == sets.count()


def test_search_finds_a_page(page: Page, address: str) -> None:
    """The search finds typed text without another machine; a click opens the page."""
    hit = page.locator("a[href*='tools/prefect']", has_text="repossessor").first
    for _ in range(SEARCHES):
        page.goto(address, wait_until="networkidle")
        page.keyboard.press("Control+k")
        page.keyboard.type("repossessor", delay=20)
        with suppress(Error):  # a page whose script is not loaded yet ignores keys
            hit.wait_for(timeout=5_000)
            break
    hit.click()
    page.wait_for_url("**/tools/prefect/**")


def test_charts_show_their_numbers(page: Page, address: str) -> None:
    """Every chart is large enough to read; its accessible name and its table have every tool."""
    page.goto(f"{address}/evidence/benchmarks/")
    charts = page.locator(".chart").get_by_role("img")
    assert charts.count() == 2 + len(samples.METRICS)
    for chart in charts.all():
        name = chart.get_attribute("aria-label") or ""
        assert all(
            f"{title} {10 * n}" in name or f"{title} {200 * n}" in name
            for title, n in zip(TITLES, (2, 3, 4, 1), strict=True)
        ), name
        box = chart.bounding_box()
        assert box is not None
        assert box["width"] > 240
        assert box["height"] >= 40 * len(TITLES)
    tables = page.get_by_role("region", name="One day")
    assert tables.count() == 3
    assert tables.first.get_by_role("columnheader").all_inner_texts()[1:] == TITLES


def test_the_diagram_names_every_variant(page: Page, address: str) -> None:
    """The diagram's accessible name has every tool, and the diagram shows the steps."""
    page.goto(address)
    diagram = page.locator(".diagram").get_by_role("img")
    name = diagram.get_attribute("aria-label") or ""
    assert all(title in name for title in TITLES)
    assert "dbt_test_staging" in diagram.inner_html()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_no_page_is_wider_than_the_screen(width: int, page: Page, served: Served) -> None:
    """Code, tables and pictures scroll inside their own box; the page never scrolls sideways."""
    page.set_viewport_size({"width": width, "height": 844})
    for url in served.pages:
        page.goto(url)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, url
        page.mouse.move(width / 2, 400)
        page.mouse.wheel(300, 0)
        assert page.evaluate("scrollX") == 0, url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(scheme: str, chromium: Browser, address: str) -> None:
    """The scheme follows the system's, and text has a contrast of 4.5 or more in either."""
    page = chromium.new_page(color_scheme="dark" if scheme == "dark" else "light")
    page.goto(f"{address}/evidence/conformance/")
    expected = "slate" if scheme == "dark" else "default"
    assert page.locator("body").get_attribute("data-md-color-scheme") == expected
    for selector in (".md-content p", ".scroll td", ".scroll td small", ".good", ".md-nav__link"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    page.goto(f"{address}/evidence/benchmarks/")
    for selector in (".chart text", ".chart figcaption", ".md-content a"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    assert page.evaluate(CONTRAST, ".chart .bar") >= 3
    page.goto(f"{address}/side-by-side/")
    for selector in (".highlight code", ".highlight .k", ".filename", ".highlight .sd"):
        assert page.evaluate(CONTRAST, selector) >= 4.5, selector
    page.context.close()


def test_the_scheme_can_be_switched(page: Page, address: str) -> None:
    """The button in the header switches to light and dark, and the choice stays."""
    page.emulate_media(color_scheme="dark")
    page.goto(address)
    seen = []
    for _ in range(2):
        page.locator("label.md-header__button[for^=__palette]:visible").click()
        seen.append(page.locator("body").get_attribute("data-md-color-scheme"))
    assert seen == ["default", "slate"]
    page.emulate_media(color_scheme="light")
    page.reload()
    assert page.locator("body").get_attribute("data-md-color-scheme") == "slate"


def test_the_keyboard_reaches_navigation_and_tables(page: Page, address: str) -> None:
    """Tab moves the visible focus to the navigation's links and to tables; Enter follows a link."""
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{address}/evidence/conformance/")
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.className.split(' ')[0]"))
        if reached[-1] == "scroll":
            break
    assert "md-nav__link" in reached
    assert reached[-1] == "scroll"
    assert page.evaluate("document.activeElement.tabIndex") == 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.locator(".md-nav__link", has_text="Fault injection").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/evidence/faults/")


def test_serving_ends_with_ctrl_c(tmp_path: Path, results: Path) -> None:
    """`serve` builds, prints an address on loopback, answers, and exits with 0 on Ctrl+C."""
    arguments = ["serve", "--results", str(results), "--site", str(tmp_path / "site")]
    command = [sys.executable, build.__file__, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        try:
            assert it.stdout is not None
            lines = [it.stdout.readline() for _ in range(2)]
            url = lines[1].split()[0]
            assert url.startswith("http://127.0.0.1:")
            with urlopen(url) as answer:  # noqa: S310 (the server that this test started)
                assert b"One pipeline, four ways" in answer.read()
            it.send_signal(signal.SIGINT)
            _, errors = it.communicate(timeout=30)
        finally:
            it.kill()
    assert (it.returncode, errors) == (0, "")
