"""The button behind a message's link, pressed in a real browser, however the browser got there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Page, expect
from prometheus_client import CollectorRegistry

from exporter.state import State
from exporter.web.alert_pages import AlertPages
from exporter.web.exposition import Exposition
from exporter.web.guard import Guard
from exporter.web.server import Server
from exporter.web.status import routes as status_routes
from tests import views
from tests.browser.chromium import PHONE, chromium, needs_chromium
from tests.unit.clocks import ManualClock

pytestmark = [needs_chromium, pytest.mark.browser]

TOKEN = "the-token"
QUERY = "ack?alertname=QuantTaskFailing&task=signals"


class Acknowledgements:
    """Stands in for Alertmanager and what is known of it."""

    def __init__(self) -> None:
        self.made: list[tuple[dict[str, str], str, str]] = []

    def unresolved(self) -> list[Any]:
        """No message was sent."""
        return []

    async def acknowledge(
        self, labels: Mapping[str, str], until: float, by: str, comment: str
    ) -> list[dict[str, str]]:
        """Remember it."""
        self.made.append((dict(labels), by, comment))
        return [dict(labels)]


@asynccontextmanager
async def serving(folder: Path, acks: Acknowledgements) -> AsyncIterator[int]:
    """The real server with its guard; gives its port."""
    clock = ManualClock(views.NOW)
    state = State.open(folder / "state.db", clock)
    guard = Guard(TOKEN, [])

    async def reload(*, force: bool = False) -> list[str]:
        return []

    routes = [
        *AlertPages(acks, acks, state, clock, guard.is_token, runbook_url=lambda: None).routes(),  # type: ignore[arg-type]
        *status_routes(views.well),
    ]
    server = Server(
        Exposition(CollectorRegistry()), guard, lambda: None, reload, routes=routes, state=state
    )
    _, port = await server.start("127.0.0.1", 0)
    try:
        yield port
    finally:
        await server.stop()
        await state.close()


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[str]:
    """Another address that passes everything on under the exporter's own name, as proxies do."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.Response:
            headers = {n: v for n, v in request.headers.items() if n.lower() != "host"}
            url = f"http://127.0.0.1:{port}{request.path_qs}"
            async with session.request(
                request.method, url, headers=headers, data=await request.read()
            ) as answer:
                kept = {
                    n: v for n, v in answer.headers.items()
                    if n.lower() not in ("transfer-encoding", "content-length")
                }  # fmt: skip
                return web.Response(body=await answer.read(), status=answer.status, headers=kept)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
        finally:
            await runner.cleanup()


async def press(page: Page, url: str) -> None:
    await page.goto(url + QUERY)
    token = page.get_by_label("Token")
    if await token.count():
        await token.fill(TOKEN)
    await page.get_by_label("Note").fill("on it")
    await page.get_by_role("button", name="Acknowledge").click()
    await expect(page.get_by_role("heading", name="Acknowledged")).to_be_visible()


async def test_the_button_acknowledges_wherever_the_browser_comes_from(tmp_path: Path) -> None:
    """On loopback, through a tunnel's local port, and through a proxy that changes the Host; the
    token is asked for once a device."""
    acks = Acknowledgements()
    async with (
        serving(tmp_path, acks) as port,
        proxy(port) as behind,
        chromium() as browser,
    ):
        for url in (f"http://127.0.0.1:{port}/", f"http://localhost:{port}/", behind):
            context = await browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
            page = await context.new_page()
            await press(page, url)
            await page.goto(url + QUERY)
            assert await page.get_by_label("Token").count() == 0, "it is asked for once"
            await press(page, url)
            await context.close()
    labels = {"alertname": "QuantTaskFailing", "task": "signals"}
    assert acks.made == [(labels, "link", "on it")] * 6


async def test_another_site_cannot_press_it(tmp_path: Path) -> None:
    """Even with the token in the form: the refusal is a page, and nothing is acknowledged."""
    acks = Acknowledgements()
    async with serving(tmp_path, acks) as port, chromium() as browser:
        page = await browser.new_page()
        form = (
            f"<form method=post action='http://localhost:{port}/ack'>"
            f"<input name=token value={TOKEN}><input name=alertname value=A><button>Win</button>"
        )
        await page.route(
            "http://127.0.0.1:1/", lambda route: route.fulfill(body=form, content_type="text/html")
        )
        await page.goto("http://127.0.0.1:1/")
        await page.get_by_role("button", name="Win").click()
        await expect(page.get_by_role("heading", name="Forbidden")).to_be_visible()
        await expect(page.locator("main")).to_contain_text("may not write here")
    assert acks.made == []
