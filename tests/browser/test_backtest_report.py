"""The report of backtests as people see it: on a phone and a desk, light and dark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser

from exporter.config import Config
from exporter.web.backtest_page import BacktestPages
from exporter.web.headers import security_headers
from tests.browser.chromium import LAPTOP, PHONE, chromium, need_driver, needs_chromium
from tests.browser.test_status_in_chromium import broken_rules
from tests.unit.backtests.test_batch import Desk

pytestmark = [pytest.mark.browser, needs_chromium]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    need_driver()
    async with chromium() as made:
        yield made


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Of a report of two runs, one week apart, with a failure in it."""
    desk = Desk(tmp_path)
    desk.batch()
    desk.clock.advance(7 * 86400)
    desk.symbols = ("A", "B", "GONE")
    desk.bars["A"] = replace(desk.bars["A"], close=desk.bars["A"].close * 1.01)
    desk.batch(reports=tmp_path / "reports", live={"s": -0.02})
    app = web.Application(middlewares=[security_headers])
    app.add_routes(BacktestPages(lambda: Config(state=tmp_path / "state.db")).routes())
    async with TestServer(app) as server:
        yield str(server.make_url("/backtests"))


async def test_the_report_is_readable_everywhere(browser: Browser, address: str) -> None:
    """No rule of axe-core is broken, nothing is wider than the screen, and its own policy blocks
    nothing of it."""
    for scheme in ("light", "dark"):
        for size in (PHONE, LAPTOP):
            page = await browser.new_page(color_scheme=scheme, viewport=size)  # type: ignore[arg-type]
            complaints: list[str] = []
            page.on("console", lambda message: complaints.append(message.text))  # noqa: B023
            await page.goto(address)
            ground = await page.evaluate(
                "getComputedStyle(document.documentElement).backgroundColor"
            )
            assert ground == ("rgb(20, 23, 26)" if scheme == "dark" else "rgb(255, 255, 255)")
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide == size["width"]
            assert await page.locator("polyline").count() == 4
            assert await page.get_by_text("s GONE: unknown symbol").count() == 1
            assert complaints == []
            assert await broken_rules(page) == []
            await page.close()
