"""/api/v1/limits: undo by hand what a limit did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from exporter.web.guard import refuse


@dataclass(frozen=True)
class LimitsApi:
    """The handler."""

    resume_limit: Callable[[str], Awaitable[list[str]]]

    def routes(self) -> list[web.RouteDef]:
        """To be mounted in the application."""
        return [web.post("/api/v1/limits/{name}/resume", self.resume)]

    async def resume(self, request: web.Request) -> web.Response:
        """End the pauses of a limit that acted; it acts again once its value was back."""
        name = request.match_info["name"]
        try:
            tasks = await self.resume_limit(name)
        except KeyError:
            raise refuse(404, f"the limit {name!r} holds nothing") from None
        return web.json_response({"ok": True, "tasks": tasks})
