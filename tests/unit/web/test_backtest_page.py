"""The reports of backtests over HTTP."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from exporter.backtests.report_page import POLICY, STYLE
from exporter.config import Config
from exporter.web.backtest_page import BacktestPages
from exporter.web.headers import security_headers

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    app = web.Application(middlewares=[security_headers])
    app.add_routes(BacktestPages(lambda: Config(state=tmp_path / "state.db")).routes())
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_the_newest_report_is_shown_with_its_own_style_allowed(
    client: Client, tmp_path: Path
) -> None:
    """And nothing else: the policy names the hash of the style that is in it."""
    assert (await client.get("/backtests")).status == 404
    (tmp_path / "reports").mkdir()
    for day in ("2026-11-22", "2026-11-29", "2026-11-29-30d"):
        page = f"<style>{STYLE}</style><p>{day}</p>"
        (tmp_path / f"reports/backtest-{day}.html").write_text(page)
    answer = await client.get("/backtests")
    assert "<p>2026-11-29</p>" in await answer.text()
    policy = answer.headers["Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith(POLICY)
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    older = await client.get("/backtests/2026-11-29-30d")
    assert "<p>2026-11-29-30d</p>" in await older.text()


@pytest.mark.parametrize("day", ["2020-01-01", "..%2f..%2fetc%2fpasswd", "x"])
async def test_other_names_are_not_found(client: Client, day: str) -> None:
    """No path leads out of the folder."""
    assert (await client.get(f"/backtests/{day}")).status == 404
