"""How many connections may be open, and how long a client may take for its request.

aiohttp limits neither. Without limits, anybody who can reach the port can use up the process's file
handles, and with them its tasks, by opening connections and sending nothing. When the limit is
reached, the connection that has waited longest for its client is closed, so that scrapes and pings
still get in.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

MOST_CONNECTIONS = 256
HEADER_SECONDS = 10.0
"""From the first byte (of the first request: from the connection) to the end of the headers."""
IDLE_SECONDS = 75.0
"""From the end of a request to the next one; sending the answer is part of it."""
_ACCEPT_QUIET_SECONDS = 60.0

log = logging.getLogger(__name__)


def connection_limit() -> int:
    """A quarter of the process's file handles at most: the rest is for tasks, logs and state."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(MOST_CONNECTIONS, soft // 4 if soft > 0 else MOST_CONNECTIONS))


class Connections:
    """The open connections of one server."""

    def __init__(
        self,
        server: Callable[[], asyncio.Protocol],
        limit: int | None = None,
        header_seconds: float = HEADER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._server = server
        self._limit = limit or connection_limit()
        self.header_seconds, self.idle_seconds = header_seconds, idle_seconds
        self._open: set[Connection] = set()
        self._closed_early = 0

    def __call__(self) -> asyncio.Protocol:
        """A protocol for one more connection; asyncio calls it."""
        return Connection(self, self._server())

    def add(self, connection: Connection) -> bool:
        """False when there is no room: every open connection has a request under way."""
        if len(self._open) >= self._limit:
            waiting = [each for each in self._open if each.waits]
            if not waiting:
                return False
            min(waiting, key=lambda each: (each.has_asked, each.waits_since)).abort()
            self._closed_early += 1
            if self._closed_early % self._limit == 1:
                log.warning(
                    "%d connections are open; those that wait longest for their client are closed",
                    self._limit,
                    extra={"event": "too_many_connections"},
                )
        self._open.add(connection)
        return True

    def remove(self, connection: Connection) -> None:
        """It is closed."""
        self._open.discard(connection)


class Connection(asyncio.Protocol):
    """Between a transport and aiohttp's protocol: passes everything on, and watches the time."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol) -> None:
        self._connections, self._inner = connections, inner
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._requests = 0
        self._begun = False
        self._accepted = False
        self.has_asked = False
        """A request has been answered."""
        self.waits_since = 0.0

    @property
    def waits(self) -> bool:
        """No request is under way."""
        return self._requests == 0

    def abort(self) -> None:
        """Close it now, whatever is still to be sent."""
        self._connections.remove(self)
        if self._transport:
            self._transport.abort()

    def _close_in(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort)

    def request_began(self) -> None:
        """Its headers are complete."""
        self._requests += 1
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def request_ended(self) -> None:
        """Its answer is made; aiohttp sends it now."""
        self._requests -= 1
        if self.waits:
            self.has_asked, self._begun = True, False
            self.waits_since = asyncio.get_running_loop().time()
            self._close_in(self._connections.idle_seconds)

    # --- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(f"not a stream: {transport!r}")
        self._transport = transport
        self.waits_since = asyncio.get_running_loop().time()
        self._accepted = self._connections.add(self)
        if not self._accepted:
            transport.abort()
            return
        self._inner.connection_made(transport)
        self._begun = True
        self._close_in(self._connections.header_seconds)

    def data_received(self, data: bytes) -> None:
        if not self._accepted:
            return
        if self.waits and not self._begun:
            self._begun = True
            self._close_in(self._connections.header_seconds)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._accepted else None

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._connections.remove(self)
        if self._accepted:
            self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()


@web.middleware
async def timed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tells the connection that a request is under way. The outermost middleware."""
    protocol = request.transport.get_protocol() if request.transport else None
    if not isinstance(protocol, Connection):
        return await handler(request)
    protocol.request_began()
    try:
        return await handler(request)
    finally:
        protocol.request_ended()


def quiet_accept_errors(loop: asyncio.AbstractEventLoop) -> None:
    """Log that no connection can be accepted (no file handles) once a minute, not every second,
    and without a traceback. Everything else goes to asyncio's own handler."""
    said = -_ACCEPT_QUIET_SECONDS

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said
        if "socket.accept()" not in str(context.get("message")):
            loop.default_exception_handler(context)
        elif loop.time() - said >= _ACCEPT_QUIET_SECONDS:
            said = loop.time()
            log.error(
                "no connection can be accepted: %s; raise the limit of open files (LimitNOFILE)",
                context.get("exception"),
                extra={"event": "accept_failed"},
            )

    loop.set_exception_handler(handle)
