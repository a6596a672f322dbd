"""Refuses what the exporter could not keep: requests while it starts, and writes while the state is
not durable. The answer is 503 with Retry-After, so that clients try again."""

from __future__ import annotations

import re
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from exporter.state import State
from exporter.web.guard import asks_itself, refuse

STARTING = "starting"
_PING = re.compile(r"/api/v1/tasks/[^/]+/(start|success|fail)|/ping/.*")
_CLAIM = re.compile(r"/api/v1/tasks/[^/]+/run")
"""Durable by itself: a run is refused unless its claim is."""


def readiness(missing: Callable[[], str | None], state: State) -> Middleware:
    """`missing` says why the exporter is not ready."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        kept = _must_be_kept(request)
        if missing() == STARTING and (kept or request.path.startswith("/api/")):
            raise refuse(503, "the exporter is starting; try again in a few seconds")
        if not kept:
            return await handler(request)
        if not state.durable:
            raise refuse(503, _not_kept(state))
        response = await handler(request)
        if response.status < 300 and not state.durable:
            raise refuse(503, _not_kept(state))
        return response

    return check


def _must_be_kept(request: web.Request) -> bool:
    """Whether a 2xx answer promises that what was sent survives a kill."""
    if _PING.fullmatch(request.path):
        return True
    if request.method in ("GET", "HEAD") or _CLAIM.fullmatch(request.path):
        return False
    return request.path.startswith("/api/") or asks_itself(request.path)


def _not_kept(state: State) -> str:
    return f"not kept, try again: {state.trouble or 'the state file cannot be written'}"
