"""A :class:`StatusView` as HTML, and the routes that serve it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from exporter.web.status import spark, week
from exporter.web.status.verdict import judge
from exporter.web.status.view import StatusView, TaskRow
from exporter.web.status.words import Words

_HERE = Path(__file__).parent
ASSETS = {
    "status.css": "text/css",
    "status.js": "text/javascript",
    "fine.svg": "image/svg+xml",
    "warn.svg": "image/svg+xml",
    "bad.svg": "image/svg+xml",
}
SECURITY = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
REFRESH_SECONDS = 15
MARKS = {"fine": "●", "warn": "▲", "bad": "✖", "idle": "○"}
_ORDER = {"bad": 0, "warn": 1, "fine": 2, "idle": 2}
Viewer = Callable[[], StatusView | Awaitable[StatusView]]


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(view: StatusView) -> str:
    """The whole page."""
    words = Words(view.now, view.zone)
    environment = _environment().overlay()
    environment.filters = {**environment.filters, **words.all()}
    return environment.get_template("status.html").render(
        view=view,
        verdict=judge(view),
        tasks=sorted(view.tasks, key=_by_trouble),
        spark=spark.draw,
        week=week.count(view),
        failures=week.failures(view.runs),
        marks=MARKS,
        refresh=REFRESH_SECONDS,
    )


def _by_trouble(task: TaskRow) -> tuple[int, str]:
    """What needs a look first, then by name."""
    return _ORDER[task.level], task.name


def routes(view: Viewer) -> list[web.RouteDef]:
    """``/`` and the files that it needs. `view` is asked at every request."""

    async def page(request: web.Request) -> web.Response:
        shown = view()
        if inspect.isawaitable(shown):
            shown = await shown
        answer = web.Response(
            text=render(shown),
            content_type="text/html",
            headers={**SECURITY, "Cache-Control": "no-store"},
        )
        answer.enable_compression()
        return answer

    async def asset(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound(text=f"there is no file {name!r} here\n")
        return web.Response(
            body=(_HERE / "assets" / name).read_bytes(),
            content_type=ASSETS[name],
            charset="utf-8",
            headers={**SECURITY, "Cache-Control": "max-age=300"},
        )

    return [web.get("/", page), web.get("/status/{name}", asset)]
