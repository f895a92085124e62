"""Refreshing the dashboard: from the published copy alone, whole or not at all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.errors import PipelineError
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.steps.dashboard import refresh_dashboard
from ecommerce_pipeline.steps.publish import publish
from support import crash_points, small_warehouse

CHILD = """
import resource, sys
from pathlib import Path
from ecommerce_pipeline.context import StepContext
from ecommerce_pipeline.steps.dashboard import refresh_dashboard
from ecommerce_pipeline.interval import DataInterval
from ecommerce_pipeline.run_directory import RunDirectory
from ecommerce_pipeline.errors import PipelineError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
context = StepContext(RunDirectory(Path(sys.argv[1])), DataInterval.parse(sys.argv[2]), "sqlite://")
for _ in range(2):
    try:
        refresh_dashboard(context)
    except PipelineError as error:
        print(error)
"""


def made_from(
    tmp_path: Path,
    rows: Mapping[str, small_warehouse.Rows],
    intervals: Sequence[DataInterval] = (small_warehouse.INTERVAL,),
) -> str:
    """The page's text, tags left out, made from a warehouse of these rows."""
    run = RunDirectory(tmp_path / "run")
    small_warehouse.create(run.warehouse, rows, intervals=intervals)
    context = StepContext(run, small_warehouse.INTERVAL, "sqlite://")
    publish(context)
    refresh_dashboard(context)
    return text_of(run.dashboard)


def text_of(page: Path) -> str:
    """The text of a page between its tags, white space collapsed."""
    body = page.read_text().partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def revenue(*rows: tuple[date, str, str]) -> dict[str, small_warehouse.Rows]:
    """Only revenue, by day and category."""
    return {
        "marts.daily_revenue_by_category": [
            (day, category, Decimal(amount), 1, 1) for day, category, amount in rows
        ]
    }


def test_the_private_warehouse_is_not_read(context: StepContext) -> None:
    """The page needs the published copy alone; the result says where the page is."""
    context.run.warehouse.unlink()
    result = refresh_dashboard(context)
    assert result.details == {
        "page": str(context.run.path / "dashboard" / "index.html"),
        "bytes": context.run.dashboard.stat().st_size,
    }


def test_equal_input_gives_an_equal_page(context: StepContext) -> None:
    """Refreshing twice gives the same bytes."""
    refresh_dashboard(context)
    first = context.run.dashboard.read_bytes()
    refresh_dashboard(context)
    assert context.run.dashboard.read_bytes() == first


def test_without_orders_the_page_says_so(tmp_path: Path) -> None:
    """Empty marts give a page of zeros and sentences instead of charts."""
    text = made_from(tmp_path, {})
    for expected in (
        "Revenue $0.00",
        "Orders 0",
        "Average order \N{EN DASH}",
        "Revenue over time No revenue yet.",
        "Revenue by category No revenue yet.",
        "Orders by status No orders yet.",
        "Top customers No customer has ordered yet.",
        "Data freshness No rows yet.",
        "This run No step has been noted for this interval.",
    ):
        assert expected in text


def test_an_older_interval_tells_how_far_the_data_reaches(tmp_path: Path) -> None:
    """Run again for an older day, the page names that day and the newest one in the data."""
    days = [small_warehouse.INTERVAL, DataInterval.for_day(date(2025, 1, 9))]
    text = made_from(tmp_path, small_warehouse.ROWS, intervals=days)
    assert "Data interval 3 Jan 2025 , data through 9 Jan 2025 , UTC" in text
    assert "Stale newest row 6 d 1 h old at the interval's end" in text


def test_staleness_follows_the_setting(context: StepContext) -> None:
    """The newest row is stale as soon as it is older than the run's limit."""
    for limit, word in ((timedelta(hours=1, minutes=45, seconds=30), "Fresh"), (1, "Stale")):
        allowed = limit if isinstance(limit, timedelta) else timedelta(hours=limit)
        refresh_dashboard(replace(context, max_staleness=allowed))
        assert f"{word} newest row 1 h 45 min old" in text_of(context.run.dashboard)


def test_money_is_never_rounded_through_floats(tmp_path: Path) -> None:
    """Sums beyond what a float holds exactly are shown to the cent."""
    day = date(2025, 1, 3)
    text = made_from(
        tmp_path, revenue((day, "a", "9007199254740993.01"), (day, "b", "0.01"), (day, "c", "0.01"))
    )
    assert "Revenue $9,007,199,254,740,993.03" in text
    assert "a $9,007,199,254,740,993.01 100.0% b $0.01 0.0%" in text


def test_refunds_are_shown_below_zero(tmp_path: Path) -> None:
    """Negative revenue has a minus sign and a column below zero, and there are no shares."""
    rows = revenue((date(2025, 1, 2), "a", "100.00"), (date(2025, 1, 3), "b", "-50.00"))
    text = made_from(tmp_path, rows)
    assert "a $100.00 b \N{MINUS SIGN}$50.00" in text
    page = (tmp_path / "run/dashboard/index.html").read_text()
    columns = re.findall(r'class="column" x="[^"]*" y="([^"]*)" .* height="([^"]*)"', page)
    assert columns == [("0.00%", "66.67%"), ("66.67%", "33.33%")]
    assert 'class="bar negative"' in page


def test_many_categories_end_in_one_row(tmp_path: Path) -> None:
    """Beyond eight categories the others are summed in one row."""
    rows = revenue(*((date(2025, 1, 3), f"c{n:02}", f"{100 - n}.25") for n in range(12)))
    assert "c07 $93.25 8.2% 4 more $363.00 31.9%" in made_from(tmp_path, rows)


def test_an_unknown_status_is_listed_last(tmp_path: Path) -> None:
    """A status that the contract does not know is shown after those that it knows."""
    orders = [
        small_warehouse.order(number, 1, status, small_warehouse.moment(3, 1), "1.00")
        for number, status in enumerate(["abandoned", "cancelled", "pending"])
    ]
    text = made_from(tmp_path, {"marts.fct_orders": orders})
    statuses = re.findall(r"(abandoned|cancelled|pending) 1 33.3%", text)
    assert statuses == ["pending", "cancelled", "abandoned"]


@pytest.mark.parametrize(
    ("days", "heading"),
    [
        (4, "by day; best"),
        (5, "by day, dated every 2 days; best"),
        (31, "by day, dated every 10 days; best"),
        (46, "by day; best"),
    ],
)
def test_the_page_says_which_columns_are_dated(tmp_path: Path, days: int, heading: str) -> None:
    """Where not every column has its date below it, the heading says at what distance they are."""
    first = date(2025, 1, 1)
    last = first + timedelta(days=days - 1)
    assert heading in made_from(tmp_path, revenue((first, "a", "1.00"), (last, "a", "1.00")))


STRANGE_DATES = {
    "20250-01-01": "20250-01-01",
    "0044-03-15 (BC)": "0044-03-15 (BC)",
    "0001-01-01": "1 Jan 0001",
    "1899-12-31": "31 Dec 1899",
    "9999-12-31": "31 Dec 9999",
    "infinity": "infinity",
    "-infinity": "-infinity",
}


def with_an_order_on(run: RunDirectory, day: str) -> None:
    """The sample, and an order of 5.00 by customer 2 on a day that only DuckDB may have."""
    small_warehouse.create(run.warehouse)
    with duckdb.connect(run.warehouse) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "INSERT INTO marts.fct_orders"
            " SELECT 5, 2, 'pending', $1::DATE, $1::DATE, 5, 0, 5, 1, updated_at"
            " FROM marts.fct_orders WHERE order_id = 4",
            [day],
        )
        connection.execute(
            "INSERT INTO marts.daily_revenue_by_category VALUES (?::DATE, 'unknown', 5, 1, 1)",
            [day],
        )
        connection.execute(
            "UPDATE marts.dim_customers SET last_order_at = ?::DATE WHERE customer_id = 2", [day]
        )


@pytest.mark.parametrize(("day", "written"), STRANGE_DATES.items())
def test_a_day_far_from_the_others_is_counted_and_named(
    tmp_path: Path, day: str, written: str
) -> None:
    """Revenue on any day is in the totals; far from the others, a note names it."""
    run = RunDirectory(tmp_path / "run")
    with_an_order_on(run, day)
    context = StepContext(run, small_warehouse.INTERVAL, "sqlite://")
    publish(context)
    refresh_dashboard(context)
    text = text_of(run.dashboard)
    assert "Revenue $1,239.45" in text
    assert f"last {written}" in text
    assert (
        "Not in the chart: $5.00 on 1 day before 1 Jan 1995 or after 5 Jan 2026,"
        f" {written}. The totals include it."
    ) in text
    assert "by day; best 1 Jan 2025: $1,234.15" in text
    assert run.dashboard.stat().st_size < 60_000


def test_several_days_far_from_the_others_are_summed(tmp_path: Path) -> None:
    """The note counts the days that the chart leaves out, and names the first."""
    text = made_from(
        tmp_path,
        revenue(
            (date(1, 1, 1), "a", "1.00"),
            (date(1994, 12, 31), "a", "2.00"),
            (date(1995, 1, 1), "a", "4.00"),
            (date(2025, 1, 3), "a", "8.00"),
            (date(2026, 1, 6), "a", "16.00"),
        ),
    )
    assert "Not in the chart: $19.00 on 3 days before 1 Jan 1995 or after 5 Jan 2026" in text
    assert ", such as 1 Jan 0001. The totals include it." in text
    assert "Revenue $31.00" in text
    assert "by month; best Jan 2025" not in text  # a period is named by its days
    assert "1 Jan 2025 to 3 Jan 2025 $8.00" in text


def test_revenue_far_from_the_interval_alone_has_no_chart(tmp_path: Path) -> None:
    """Where every day is in the far future, the note stands alone."""
    text = made_from(tmp_path, revenue((date(2225, 1, 3), "a", "8.00")))
    assert "Revenue over time Not in the chart: $8.00 on 1 day" in text
    assert "No revenue yet" not in text


def test_old_revenue_alone_has_a_chart(tmp_path: Path) -> None:
    """The chart goes back from the newest day, however long before the interval that was."""
    text = made_from(tmp_path, revenue((date(1960, 5, 4), "a", "8.00")))
    assert "by day; best 4 May 1960: $8.00" in text
    assert "Not in the chart" not in text


def test_blank_texts_are_named(tmp_path: Path) -> None:
    """A blank category and status are shown as such; a customer with a blank name by the number."""
    order = small_warehouse.order(1, 1, " ", small_warehouse.moment(3, 1), "1.00")
    text = made_from(
        tmp_path,
        {
            **revenue((date(2025, 1, 3), "", "2.00"), (date(2025, 1, 3), "\u200b", "1.00")),
            "marts.fct_orders": [order],
            "marts.dim_customers": [small_warehouse.customer(7, " ", "\t", 1, "1.00")],
        },
    )
    assert "Share (blank) $2.00 66.7% (blank) $1.00 33.3%" in text
    assert "Customer 7 1 order, last 3 Jan 2025" in text
    assert "(blank) 1 100.0%" in text


def test_no_text_reorders_or_hides_the_page(tmp_path: Path) -> None:
    """Direction overrides and control characters in any text of the data are shown as codes."""
    nasty = "\u202eevil\x1b\u2069"
    order = small_warehouse.order(1, 1, nasty, small_warehouse.moment(3, 1), "1.00")
    text = made_from(
        tmp_path,
        {
            **revenue((date(2025, 1, 3), nasty, "2.00")),
            "marts.fct_orders": [order],
            "marts.dim_customers": [small_warehouse.customer(7, nasty, nasty, 1, "1.00")],
        },
    )
    assert not set(nasty) - set("evil") & set((tmp_path / "run/dashboard/index.html").read_text())
    assert text.count("[U+202E]evil[U+001B][U+2069]") == 5  # the status also in its bar's title


@pytest.mark.parametrize("moment", ["before_rename", "after_rename"])
def test_a_killed_refresh_leaves_a_whole_page(context: StepContext, moment: str) -> None:
    """SIGKILL at either side of the rename leaves a whole page; the next run clears the rest."""
    context.run.dashboard.parent.mkdir()
    context.run.dashboard.write_text("the page before")
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(context.run.path), str(context.interval), "1000000"],
        env={**os.environ, **crash_points.environment(f"dashboard:{moment}")},
        check=False,
    )
    assert child.returncode == -9
    page = context.run.dashboard.read_text()
    assert page == "the page before" or page.endswith("</html>\n")
    assert page.startswith("the page" if moment == "before_rename" else "<!doctype html>")
    refresh_dashboard(context)
    assert [path.name for path in context.run.dashboard.parent.iterdir()] == ["index.html"]


def test_a_failed_refresh_keeps_the_page(context: StepContext) -> None:
    """Where the copy cannot be read, the problem is named and the previous page stays."""
    refresh_dashboard(context)
    before = context.run.dashboard.read_bytes()
    context.run.published.unlink()
    with pytest.raises(PipelineError, match=r"nothing is published in .*; run the step publish"):
        refresh_dashboard(context)
    assert context.run.dashboard.read_bytes() == before


def test_a_full_disk_keeps_the_page(context: StepContext) -> None:
    """Where the page may not grow, each attempt ends in one line, and the previous page stays."""
    refresh_dashboard(context)
    before = context.run.dashboard.read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(context.run.path), str(context.interval), "5000"],
        capture_output=True,
        text=True,
        check=True,
    )
    refused = f"the dashboard {context.run.dashboard} could not be replaced and is as it was: "
    assert [line.startswith(refused) for line in done.stdout.splitlines()] == [True, True]
    assert "File too large" in done.stdout
    assert {path.name: path.read_bytes() for path in context.run.dashboard.parent.iterdir()} == {
        "index.html": before
    }


def test_an_unwritable_page_is_named(context: StepContext) -> None:
    """Where the page cannot be written, the error names it."""
    context.run.dashboard.mkdir(parents=True)
    with pytest.raises(PipelineError, match=r"index\.html could not be replaced"):
        refresh_dashboard(context)


def test_missing_marts_are_named(context: StepContext) -> None:
    """A published copy without a mart that the page needs is refused by that mart's name."""
    manifest = context.run.published / "manifest.json"
    manifest.chmod(0o644)
    manifest.write_text(manifest.read_text().replace("marts.fct_orders", "marts.fct_others"))
    (context.run.published / "marts/fct_orders.parquet").rename(
        context.run.published / "marts/fct_others.parquet"
    )
    with pytest.raises(
        PipelineError, match=r"fct_orders.*; run the step dbt_run_marts and publish"
    ):
        refresh_dashboard(context)
