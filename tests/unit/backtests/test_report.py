"""The report of a run: one file, whole, without script."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from exporter.backtests.report_charts import drawdowns, lines, months, shade
from exporter.backtests.report_message import message
from exporter.backtests.report_page import POLICY, report
from exporter.config import Config
from exporter.messages.picture import png
from tests.unit.backtests.test_batch import SUNDAY, Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class Tags(HTMLParser):
    """Every element and attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_report_needs_nothing_else(desk: Desk) -> None:
    """No script, no address, no style in attributes, and a policy that allows its own style."""
    page = report(desk.batch(), SUNDAY, {"s": 0.0123})
    tags = Tags()
    tags.feed(page)
    assert {tag for tag, _ in tags.found} & {"script", "img", "link", "iframe", "a"} == set()
    assert not [a for _, a in tags.found if {"style", "src", "href", "onclick"} & set(a)]
    assert "default-src 'none'" in POLICY
    assert page.count("<svg") == 2
    assert "<td>A</td>" in page
    assert "+1.23%" in page
    assert "Sharpe ratio by parameters" in page
    assert re.search(r"\d+ trades[^<]*</summary>", page)


def test_failures_and_gaps_are_in_it_as_text(desk: Desk) -> None:
    """What a user's code says is never markup."""
    desk.write("raise ValueError('<script>alert(1)</script>')")
    page = report(desk.batch(), SUNDAY, {})
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "There is no result." in page
    assert "1h bars are missing" in page


def test_the_change_since_an_earlier_day_is_in_it(desk: Desk) -> None:
    """For each strategy and symbol."""
    desk.batch()
    desk.clock.advance(7 * 86400)
    desk.bars["A"].close[-1] *= 1.1
    page = report(desk.batch(), desk.clock.now(), {})
    assert "No run of an earlier day" not in page
    row = re.search(r"<td>A</td>.*?</tr>", page)
    assert row
    assert len(re.findall(r"class=\"(?:up|down|quiet)\"", row[0])) == 3


def test_a_run_writes_its_report(desk: Desk, tmp_path: Path) -> None:
    """One a day; over other days under another name."""
    end = desk.batch(reports=tmp_path / "reports")
    assert end.report == tmp_path / "reports/backtest-2026-09-27.html"
    assert end.report.read_text().startswith("<!doctype html>")
    assert desk.batch(reports=tmp_path / "reports", days=9).report == (
        tmp_path / "reports/backtest-2026-09-27-9d.html"
    )


def test_the_message_has_a_table_and_a_picture(desk: Desk) -> None:
    """As other reports do."""
    sent = message(desk.batch(), Config())
    assert sent.parts[0] == "6 units, none failed."
    assert [row[0] for row in sent.parts[1].rows] == ["s A", "s B"]  # type: ignore[union-attr]
    picture = png(sent.charts)
    assert picture is not None
    assert picture.startswith(b"\x89PNG")


def test_months_chain_to_the_whole() -> None:
    """And begin where the curve does."""
    days = [SUNDAY + n * 86400 for n in range(70)]
    curve = (days, [100 * 1.01**n for n in range(70)])
    found = months(curve)
    assert list(found) == ["2026-09", "2026-10", "2026-11", "2026-12"]
    assert math.prod(1 + value for value in found.values()) == pytest.approx(1.01**69)


def test_a_drawdown_is_measured_from_the_highest_value_before() -> None:
    """0 at a peak."""
    assert drawdowns(([0, 1, 2, 3], [100, 120, 90, 130]))[1] == [0, 0, -0.25, 0]


def test_a_flat_or_missing_curve_draws() -> None:
    """Without dividing by nothing."""
    assert "<polyline" in lines({"a": ([0.0, 1.0], [0.0, 0.0])}, label="x")
    assert lines({"a": ([0.0], [0.0])}, label="x") == ""
    assert [shade(v, 4) for v in (4, 0.1, -4, 0, math.nan)] == ["p4", "p1", "n4", "z", "z"]
