"""A :class:`StatusView` as HTML, and the routes that serve it."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from exporter.web.status import verdict
from exporter.web.status.choice import Choice
from exporter.web.status.templating import answer, fill, fill_in_pieces
from exporter.web.status.view import StatusView

_HERE = Path(__file__).parent
ASSETS = {
    "status.css": "text/css",
    "status.js": "text/javascript",
    "fine.svg": "image/svg+xml",
    "warn.svg": "image/svg+xml",
    "idle.svg": "image/svg+xml",
    "bad.svg": "image/svg+xml",
}
REFRESH_SECONDS = 15
MANY = 12
"""With more tasks than that, those without trouble have a line each."""
MOST_TILES, MOST_ROWS = 400, 100
"""Of tasks without trouble in a group, and of the week's table; the others are counted."""
ALL = Choice()
Viewer = Callable[[], StatusView | Awaitable[StatusView]]


def render(view: StatusView, choice: Choice = ALL) -> str:
    """The whole page, with the tasks that are chosen."""
    return fill("status.html", view.now, view.zone, **_shown(view, choice))


async def render_in_pieces(view: StatusView, choice: Choice = ALL) -> str:
    """The same, in turns with everything else on the event loop."""
    return await fill_in_pieces("status.html", view.now, view.zone, **_shown(view, choice))


def _shown(view: StatusView, choice: Choice) -> dict[str, Any]:
    return {
        "view": view,
        "verdict": verdict.judge(view),
        "facts": verdict.facts(view),
        "groups": choice.groups(view.tasks),
        "choice": choice,
        "all": ALL,
        "many": len(view.tasks) > MANY,
        "most_tiles": MOST_TILES,
        "most_rows": MOST_ROWS,
        "refresh": REFRESH_SECONDS,
    }


def routes(view: Viewer) -> list[web.RouteDef]:
    """``/`` and the files that it needs. `view` is asked at every request."""

    async def page(request: web.Request) -> web.Response:
        shown = view()
        if inspect.isawaitable(shown):
            shown = await shown
        return answer(await render_in_pieces(shown, Choice.of(request.query)))

    async def asset(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in ASSETS:
            raise web.HTTPNotFound(text=f"there is no file {name!r} here\n")
        return web.Response(
            body=(_HERE / "assets" / name).read_bytes(),
            content_type=ASSETS[name],
            charset="utf-8",
            headers={"Cache-Control": "max-age=300"},
        )

    return [web.get("/", page), web.get("/status/{name}", asset)]
