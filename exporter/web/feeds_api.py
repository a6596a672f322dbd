"""/api/v1/feeds: bars that programs push."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from exporter.feeds import Feeds
from exporter.feeds.pushed import NotPushedError
from exporter.util.nan import json_safe
from exporter.web.api import read_object
from exporter.web.guard import refuse

MOST_BARS = 10_000


@dataclass(frozen=True)
class FeedsApi:
    """The handler."""

    feeds: Feeds

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [web.post("/api/v1/feeds/{name}/bars", self.bars)]

    async def bars(self, request: web.Request) -> web.Response:
        """Bars of a feed whose source has `type: push`: {bars: [{symbol, time, open, …}]}."""
        name = request.match_info["name"]
        if name not in self.feeds.feeds:
            raise refuse(404, f"there is no feed {name!r}")
        rows = (await read_object(request)).get("bars")
        if not isinstance(rows, list) or len(rows) > MOST_BARS:
            raise refuse(400, f"`bars` must be a list of at most {MOST_BARS} bars")
        try:
            answer = await self.feeds.push(name, rows)
        except NotPushedError as error:
            raise refuse(409, str(error)) from error
        if rows and not answer["accepted"]:
            raise refuse(400, f"no bar can be used: {answer['errors'][0]}")
        return web.json_response(json_safe(answer))
