"""One aiohttp application on one address."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from exporter.config.paths import INSTANCE_HEADER
from exporter.state import State
from exporter.web.bodies import LARGE_BODY, read_bodies
from exporter.web.connections import Connections, quiet_accept_errors, timed
from exporter.web.error_responses import errors_as_json, errors_as_pages
from exporter.web.exposition import Exposition
from exporter.web.guard import Guard, refuse
from exporter.web.headers import security_headers
from exporter.web.readiness import readiness

logger = logging.getLogger(__name__)


class Reload(Protocol):
    """Applies the config file; returns why it was rejected, empty on success."""

    async def __call__(self, *, force: bool = False) -> list[str]: ...


def cannot_listen(listen: str, error: OSError) -> str:
    """Why we cannot listen on that address, and what to do."""
    match error.errno:
        case errno.EADDRINUSE:
            what = (
                "another exporter or program listens there; stop it, or write another port under "
                "`listen:`"
            )
        case errno.EACCES:
            what = "ports below 1024 are for root; write a higher one under `listen:`"
        case errno.EADDRNOTAVAIL:
            what = "this machine does not have that address; write one of its own under `listen:`"
        case _:
            what = error.strerror or str(error)
    return f"cannot listen on {listen}: {what}"


class Server:
    """Listens, and stops listening."""

    def __init__(
        self,
        exposition: Exposition,
        guard: Guard,
        ready: Callable[[], str | None],
        reload: Reload,
        *,
        routes: Iterable[web.RouteDef],
        state: State,
        instance: str = "",
    ) -> None:
        self._exposition, self._ready, self._reload = exposition, ready, reload
        self._app = web.Application(
            middlewares=[
                timed,
                security_headers,
                errors_as_pages,
                errors_as_json,
                guard.middleware(),
                readiness(ready, state),
                read_bodies,
            ],
            client_max_size=LARGE_BODY,
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
        self._runner = web.AppRunner(
            self._app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=2.0,
            lingering_time=2.0,
            read_bufsize=16_384,
            logger=_HttpLogger(logger, {}),
        )
        self._listener: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the real address (port 0 takes a free one). :class:`OSError` if taken."""
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise RuntimeError("aiohttp has made no server")
        loop = asyncio.get_running_loop()
        quiet_accept_errors(loop)
        connections = Connections(server)
        self._listener = await loop.create_server(connections, host, port)
        real_host, real_port = self._listener.sockets[0].getsockname()[:2]
        return real_host, real_port

    async def stop(self) -> None:
        """Stop listening and end the scrape thread."""
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()
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
        force = request.query.get("force")
        if force not in (None, "true"):
            raise refuse(400, f"force must be true, not {force[:80]!r}")
        mistakes = await self._reload(force=force is not None)
        if mistakes:
            raise refuse(400, "\n".join(mistakes))
        return web.json_response({"ok": True})


class _HttpLogger(logging.LoggerAdapter[logging.Logger]):
    """aiohttp's own lines. A malformed request is the client's mistake: one line a minute at most,
    and no traceback."""

    _said = -60.0

    def exception(self, msg: object, *args: object, exc_info: Any = True, **more: Any) -> None:
        if not isinstance(exc_info, (HttpProcessingError, web.RequestPayloadError)):
            super().exception(msg, *args, exc_info=exc_info, **more)
        elif time.monotonic() - self._said >= 60:
            self._said = time.monotonic()
            logger.warning(
                "malformed request: %s", " ".join(str(exc_info).split())[:200],
                extra={"event": "malformed_request"},
            )  # fmt: skip
