"""One aiohttp application on one address."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable

from aiohttp import web

from exporter.config.paths import INSTANCE_HEADER
from exporter.web.api import MAX_BODY
from exporter.web.error_responses import errors_as_json
from exporter.web.exposition import Exposition
from exporter.web.guard import Guard, refuse
from exporter.web.headers import security_headers

logger = logging.getLogger(__name__)

Reload = Callable[[], Awaitable[list[str]]]
"""Applies the config file; returns why it was rejected, empty on success."""


class Server:
    """Listens, and stops listening."""

    def __init__(
        self,
        exposition: Exposition,
        guard: Guard,
        ready: Callable[[], str | None],
        reload: Reload,
        routes: Iterable[web.RouteDef],
        *,
        instance: str = "",
    ) -> None:
        self._exposition, self._ready, self._reload = exposition, ready, reload
        self._app = web.Application(
            middlewares=[security_headers, guard.middleware(), errors_as_json],
            client_max_size=MAX_BODY,
        )
        self._app.add_routes(
            [
                web.get("/metrics", exposition.handle),
                web.get("/-/healthy", self._healthy),
                web.get("/-/ready", self._readiness),
                web.post("/-/reload", self._reloading),
                *routes,
            ]
        )
        self._app.on_response_prepare.append(self._name_instance)
        self._instance = instance
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the real address (port 0 takes a free one). :class:`OSError` if taken."""
        self._runner = web.AppRunner(
            self._app, access_log=None, handle_signals=False, shutdown_timeout=2.0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        real_host, real_port = self._runner.addresses[0][:2]
        return real_host, real_port

    async def stop(self) -> None:
        """Stop listening and end the scrape thread."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None
        self._exposition.close()

    async def _name_instance(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers[INSTANCE_HEADER] = self._instance

    async def _healthy(self, request: web.Request) -> web.Response:
        """Up while the event loop runs."""
        return web.Response(text="healthy\n")

    async def _readiness(self, request: web.Request) -> web.Response:
        missing = self._ready()
        if missing:
            return web.Response(text=f"not ready: {missing}\n", status=503)
        return web.Response(text="ready\n")

    async def _reloading(self, request: web.Request) -> web.Response:
        mistakes = await self._reload()
        if mistakes:
            raise refuse(400, "\n".join(mistakes))
        return web.json_response({"ok": True})
