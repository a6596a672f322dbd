"""A plain page at / : what this is and where to look."""

from __future__ import annotations

from html import escape
from typing import Protocol

from aiohttp import web

from exporter import __version__
from exporter.web.tasks_view import TasksView


class House(Protocol):
    """What the page shows."""

    tasks_view: TasksView

    @property
    def simulated(self) -> bool: ...


class Landing:
    """Replaced by the status page once there is one."""

    def __init__(self, house: House) -> None:
        self._house = house

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [web.get("/", self._page)]

    async def _page(self, request: web.Request) -> web.Response:
        rows = "".join(
            f"<tr><td>{escape(task['name'])}<td>{task['state']}<td>{escape(task['schedule'])}"
            for task in self._house.tasks_view.list()
        )
        banner = "<p><strong>Prices are simulated.</strong></p>" if self._house.simulated else ""
        text = (
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>quant-exporter</title>'
            f'<meta name="viewport" content="width=device-width">'
            f"<h1>quant-exporter {__version__}</h1>{banner}"
            f'<p><a href="/metrics">Metrics</a> · <a href="/api/v1/tasks">Tasks as JSON</a></p>'
            f"<table><tr><th>Task<th>State<th>Schedule{rows}</table></html>"
        )
        return web.Response(text=text, content_type="text/html")
