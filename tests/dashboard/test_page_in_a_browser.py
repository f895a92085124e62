"""The dashboard as a reader sees it: in a real browser, from a file, without a network."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, Page

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.dashboard import refresh_dashboard
from ecommerce_pipeline.steps.publish import publish
from support import small_warehouse

Scheme = Literal["light", "dark"]

WORST_CONTRAST = """
() => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b]
    .map(c => c / 255)
    .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const background = element => {
    const color = channels(getComputedStyle(element).backgroundColor);
    return color[3] === 0 && element.parentElement ? background(element.parentElement) : color;
  };
  const texts = [...document.body.querySelectorAll('*')].filter(element =>
    [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
    && !['title', 'style'].includes(element.localName) && element.getClientRects().length);
  return Math.min(...texts.map(element => {
    const style = getComputedStyle(element);
    const front = luminance(channels(element.localName === 'text' ? style.fill : style.color));
    const back = luminance(background(element));
    return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
  }));
}
"""


@dataclass
class Opened:
    """A page, what it asked for, and what its console said."""

    page: Page
    requests: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)

    def texts(self, selector: str) -> list[str]:
        """The visible texts of all matching elements."""
        return [" ".join(text.split()) for text in self.page.locator(selector).all_inner_texts()]

    def rows(self, heading: str) -> list[list[str]]:
        """The texts of a section's table, row by row."""
        table = self.page.get_by_role("region", name=heading).locator("tbody tr")
        return [
            [" ".join(cell.split()) for cell in row.locator("th, td").all_inner_texts()]
            for row in table.all()
        ]


class Reader:
    """Opens dashboards in the browser."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    def open(
        self,
        dashboard: Path,
        *,
        width: int = 1280,
        scheme: Scheme = "light",
        motion: Literal["reduce", "no-preference"] = "no-preference",
    ) -> Opened:
        """Open the file in a fresh browser profile."""
        profile = self._browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion=motion
        )
        opened = Opened(profile.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.console.append(message.text))
        opened.page.on("pageerror", lambda error: opened.console.append(str(error)))
        opened.page.goto(dashboard.as_uri())
        return opened

    def close(self) -> None:
        """Close every profile."""
        for profile in self._browser.contexts:
            profile.close()


@pytest.fixture
def reader(chromium: Browser) -> Iterator[Reader]:
    """A reader with no page open."""
    reader = Reader(chromium)
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def dashboard(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's page, alone in a folder, as if it had been sent by mail."""
    context = StepContext(RunDirectory(published), small_warehouse.INTERVAL, "sqlite://")
    refresh_dashboard(context)
    page = tmp_path_factory.mktemp("mailed") / "page.html"
    shutil.copy(context.run.dashboard, page)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_needs_nothing_but_itself(reader: Reader, dashboard: Path, scheme: Scheme) -> None:
    """The page asks for no other address, and the console stays silent."""
    opened = reader.open(dashboard, scheme=scheme)
    opened.page.wait_for_load_state("networkidle")
    network = [url for url in opened.requests if not url.startswith("data:")]
    assert network == [dashboard.as_uri()]
    assert opened.console == []


def test_the_totals_are_exact(reader: Reader, dashboard: Path) -> None:
    """The totals numbers equal the data to the cent."""
    opened = reader.open(dashboard)
    assert opened.page.title() == "Shop overview, 3 Jan 2025"
    assert opened.texts("header p") == ["Data interval 3 Jan 2025, UTC"]
    assert opened.texts(".tile") == [
        "Revenue $1,234.45 tax included, cancelled orders left out",
        "Orders 4 1 cancelled",
        "Customers 3 2 with an order",
        "Average order $411.48 revenue per order not cancelled",
    ]


def test_the_tables_are_exact(reader: Reader, dashboard: Path) -> None:
    """Categories, statuses and steps are listed with their exact values, in their order."""
    opened = reader.open(dashboard)
    assert opened.rows("Revenue by category") == [
        ["Garden & <b>Home</b>", "$1,200.40", "97.2%"],
        ["unknown", "$34.05", "2.8%"],
    ]
    assert opened.rows("Orders by status") == [
        ["pending", "1", "25.0%"],
        ["shipped", "1", "25.0%"],
        ["delivered", "1", "25.0%"],
        ["cancelled", "1", "25.0%"],
    ]
    assert opened.rows("This run") == [
        ["check_source_freshness", "0.25 s"],
        ["dbt_run_marts", "3.50 s"],
        ["publish", "1 min"],
    ]
    assert opened.texts("section[aria-labelledby=run] .heading p") == [
        "1 min 5 s until this page was made"
    ]


def test_freshness_is_told_in_logical_time(reader: Reader, dashboard: Path) -> None:
    """Freshness is the newest row's age at the interval's end, whatever the clock says."""
    opened = reader.open(dashboard)
    assert opened.texts("section[aria-labelledby=freshness] :is(p, dl div)") == [
        "Fresh newest row 1 h 45 min old at the interval's end",
        "Newest row 3 Jan 2025, 22:14 UTC",
        "Interval's end 4 Jan 2025, 00:00 UTC",
        "Stale after 2 d",
    ]


def test_nasty_text_is_shown_as_it_is(reader: Reader, dashboard: Path) -> None:
    """Markup, quotes, newlines and emoji in a name are text; a direction override is its code."""
    page = reader.open(dashboard).page
    names = page.locator("section[aria-labelledby=customers] .name")
    shown = small_warehouse.NASTY_NAME.replace("\u202e", "[U+202E]")
    assert names.all_text_contents() == [shown, "Customer 2"]
    assert page.locator("script, main b, body > :not(header, main, footer)").count() == 0
    last = page.locator("section[aria-labelledby=customers] td").all_inner_texts()
    assert last == ["$1,200.40", "$34.05"]


def test_the_columns_are_to_scale(reader: Reader, dashboard: Path) -> None:
    """Each day has its column, as tall as its revenue; a day without revenue has none."""
    page = reader.open(dashboard).page
    assert page.locator(".mark title").all_text_contents() == [
        "1 Jan 2025: $1,234.15",
        "2 Jan 2025: $0.00",
        "3 Jan 2025: $0.30",
    ]
    boxes = [column.bounding_box() for column in page.locator(".column").all()]
    heights = [box["height"] if box else 0.0 for box in boxes]
    assert heights[0] == pytest.approx(190 * 1234.15 / 1500, abs=0.5)
    assert heights[1] == 0
    assert 0 < heights[2] < 0.5


def test_the_step_bars_are_to_scale(reader: Reader, dashboard: Path) -> None:
    """A step's bar begins and ends where the step did within the run; none is too short to see."""
    page = reader.open(dashboard).page
    bars = page.locator("section[aria-labelledby=run] .fill")
    places = [(bar.get_attribute("x"), bar.get_attribute("width")) for bar in bars.all()]
    assert places == [("0.00%", "1.00%"), ("1.54%", "5.38%"), ("7.69%", "92.31%")]


@pytest.mark.parametrize("width", [320, 360, 400, 768])
def test_a_phone_never_scrolls_sideways(reader: Reader, dashboard: Path, width: int) -> None:
    """On a narrow screen the page is no wider than the screen, tables opened, names long."""
    page = reader.open(dashboard, width=width).page
    page.get_by_text("Show as a table").click()
    page.locator(".name").first.evaluate("name => name.textContent = 'x'.repeat(300)")
    page.locator(".value").first.evaluate("value => value.textContent = '$9,999,999,999.99'")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_notes_about_the_chart_fit_a_phone(reader: Reader, tmp_path: Path) -> None:
    """On the narrowest screen, what the chart leaves out and which columns are dated is in view."""
    run = RunDirectory(tmp_path / "run")
    days = [date(1, 1, 1), *(date(2025, 1, 1) + timedelta(days=n) for n in range(45))]
    revenue = [(day, "\u202e" * 40, Decimal("9999999.99"), 1, 1) for day in days]
    rows = {**small_warehouse.ROWS, "marts.daily_revenue_by_category": revenue}
    small_warehouse.create(run.warehouse, rows)
    context = StepContext(run, small_warehouse.INTERVAL, "sqlite://")
    publish(context)
    refresh_dashboard(context)
    opened = reader.open(run.dashboard, width=320)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 320
    heading, note = opened.texts("section[aria-labelledby=over-time] p")
    assert heading.startswith("by day, dated every 15 days; best 1 Jan 2025")
    assert note.startswith("Not in the chart: $9,999,999.99 on 1 day before 1 Jan 1995")
    labels = [label.bounding_box() for label in opened.page.locator(".plot > text").all()]
    assert len(labels) == 3
    assert all(box and 0 <= box["x"] <= box["x"] + box["width"] <= 320 for box in labels)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast(reader: Reader, dashboard: Path, scheme: Scheme) -> None:
    """Every text differs from its background by 4.5 to 1 or more, as WCAG 2 AA asks."""
    page = reader.open(dashboard, scheme=scheme).page
    page.get_by_text("Show as a table").click()
    assert page.evaluate(WORST_CONTRAST) >= 4.5


BACKGROUNDS = """
[document.body, document.querySelector('.card')].map(e => getComputedStyle(e).backgroundColor)
"""


def test_the_dark_scheme_is_dark_and_paper_is_white(reader: Reader, dashboard: Path) -> None:
    """The backgrounds follow the reader's scheme; print is white whatever the scheme."""
    light = reader.open(dashboard, scheme="light").page
    assert light.evaluate(BACKGROUNDS) == ["rgb(243, 245, 248)", "rgb(255, 255, 255)"]
    dark = reader.open(dashboard, scheme="dark").page
    assert dark.evaluate(BACKGROUNDS) == ["rgb(13, 18, 25)", "rgb(22, 29, 40)"]
    dark.emulate_media(media="print", color_scheme="dark")
    assert dark.evaluate(BACKGROUNDS) == ["rgb(255, 255, 255)"] * 2


def test_motion_stops_on_request(reader: Reader, dashboard: Path) -> None:
    """Nothing moves for a reader who asked for reduced motion."""
    duration = "getComputedStyle(document.querySelector('.band')).transitionDuration"
    assert reader.open(dashboard).page.evaluate(duration) == "0.12s"
    assert reader.open(dashboard, motion="reduce").page.evaluate(duration) == "0s"


def test_the_page_is_readable_without_seeing_it(reader: Reader, dashboard: Path) -> None:
    """Sections are named by their headings; each chart has a label or a table in its place."""
    page = reader.open(dashboard).page
    assert page.locator("h1, h2").all_text_contents() == [
        "Shop overview",
        "Totals",
        "Revenue over time",
        "Revenue by category",
        "Top customers",
        "Orders by status",
        "Data freshness",
        "This run",
    ]
    assert page.get_by_role("region").count() == 7
    chart = page.get_by_role("img")
    assert chart.get_attribute("aria-label") == (
        "Revenue by day from 1 Jan 2025 to 3 Jan 2025; the table below has every value."
    )
    silent = page.locator("svg:not([role=img], [aria-hidden=true], [aria-hidden=true] svg)")
    assert silent.count() == 0
    assert page.locator("table:not(:has(th[scope=col])), tr:not(:has(th))").count() == 0


def test_the_keyboard_opens_the_table(reader: Reader, dashboard: Path) -> None:
    """One step of the Tab key reaches the table of every value, and Enter opens it."""
    opened = reader.open(dashboard)
    opened.page.keyboard.press("Tab")
    outline: Any = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    opened.page.keyboard.press("Enter")
    assert opened.rows("Revenue over time") == [
        ["1 Jan 2025", "$1,234.15"],
        ["2 Jan 2025", "$0.00"],
        ["3 Jan 2025", "$0.30"],
    ]
