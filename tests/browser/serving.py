"""The status page on a free port, showing whatever view a test puts there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from exporter.util.shipped import shipped
from exporter.web import alert_html
from exporter.web.headers import security_headers
from exporter.web.status import StatusView, routes
from exporter.web.status.detail_pages import Records
from exporter.web.status.page_parts import RecordParts
from exporter.web.status.task_page import TaskPage
from tests import views


class Site:
    """Where the page is, and what it shows; None answers 500."""

    def __init__(self) -> None:
        self.view: StatusView | None = views.well()
        self.url = ""
        self.asked = 0

    def show(self) -> StatusView:
        self.asked += 1
        if self.view is None:
            raise web.HTTPInternalServerError
        return self.view


async def _runbook(request: web.Request) -> web.Response:
    return alert_html.runbook(shipped("docs/runbook.md").read_text(encoding="utf-8"))


async def no_days(task: str) -> tuple[float, ...]:
    """Nothing is known of a month."""
    return ()


@asynccontextmanager
async def serve(records: RecordParts | None = None) -> AsyncIterator[Site]:
    """A real server on loopback; with `records`, the pages behind the status page too."""
    site = Site()
    app = web.Application(middlewares=[security_headers])
    app.add_routes(routes(site.show))
    if records:
        app.router.add_get("/runbook", _runbook)
        app.add_routes(Records(records).routes())
        app.add_routes(TaskPage(records, lambda token: False, no_days).routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    try:
        yield site
    finally:
        await runner.cleanup()
