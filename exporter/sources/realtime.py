"""TickDB's WebSocket: one connection, its subscriptions, and the next one after a pause.

As docs.tickdb.ai has it (quick start, subscribe): a subscription is one symbol on one channel,
``{"cmd": "ping"}`` every second keeps the connection, and the key is part of the address, which is
therefore shown nowhere. That the connection stands is no sign of data: what counts is the age of
the newest message of each symbol.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping

import aiohttp
import orjson

from exporter.config import TickDBSettings
from exporter.metrics import FETCH_REASONS, Metrics
from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.sources.connecting import (
    PROXY_REFUSES,
    connection_failure,
    proxy_refusal,
    request_arguments,
)
from exporter.sources.envelope import asked_pause, by_status
from exporter.sources.realtime_messages import StreamMessages, StreamTrouble, Tick
from exporter.util.backoff import backoff_cap, backoff_pause
from exporter.util.clock import Clock
from exporter.util.proxy import proxy_for

PING_SECONDS = 1.0
SILENT_SECONDS = 120.0
"""A connection on which nothing comes for so long, not even answers to pings, is replaced."""
CLOSING_SECONDS = 1.0
"""For the server to answer that the connection is over: a reload and a stop wait for it."""
SETTLED_SECONDS = 30.0
"""A connection that brought prices for so long was a good one: pauses begin from the shortest."""
_LARGEST_MESSAGE_BYTES = 1_000_000
_MESSAGES_AT_ONCE = 100
"""Then everything else on the loop has its turn."""
_BACKOFF_SECONDS, _BACKOFF_CAP_SECONDS = 1.0, 60.0
REFUSED_SECONDS = 60.0
"""Pause after a refusal that another try will probably meet again: the key, the plan. A connection
on which subscriptions were refused, and nothing came for so long, is replaced."""
_MESSAGE_TYPES = (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
_ENDED = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)
_ABOUT_A_SUBSCRIPTION = (1004, 2001, 2002, 2003, 2004, 3009, 3010)
"""Codes after which other subscriptions of the connection may go on."""


class Realtime:
    """Keeps one connection with the subscriptions `wanted`, symbols by channel; `on_tick` gets each
    message that can be used. `sleep` and `rng` are passed in for tests."""

    def __init__(
        self,
        name: str,
        settings: TickDBSettings,
        key: Key,
        metrics: Metrics,
        clock: Clock,
        *,
        url: str,
        wanted: Mapping[str, Iterable[str]],
        on_tick: Callable[[Tick], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name, self.connected = name, False
        self._settings, self._key, self._clock = settings, key, clock
        # With http(s), which aiohttp takes as ws(s), so that a proxy knows the scheme.
        self._url = stream_url(settings, url).replace("ws", "http", 1)
        self._proxy = proxy_for(self._url, settings.proxy, os.environ)
        self._wanted = {channel: tuple(symbols) for channel, symbols in wanted.items()}
        self._sleep, self._rng = sleep, rng or random.Random()
        self._trouble = StreamTrouble(name, key, clock)
        self._messages = StreamMessages(
            name, key, metrics, clock, wanted=self._wanted, on_tick=on_tick,
            negative=settings.negative_prices, trouble=self._trouble,
        )  # fmt: skip
        self._opened = metrics.counter("quant_stream_connections_total").labels(name)
        self._failures = metrics.counter("quant_stream_failures_total")
        for reason in FETCH_REASONS:
            self._failures.labels(name, reason)

    async def run(self) -> None:
        """Until cancelled: connect, read, and connect again after a pause that grows."""
        failures = 0
        while True:
            used, began = self._messages.used, self._clock.monotonic()
            failure = await self._one_connection()
            if self._messages.used > used and self._clock.monotonic() - began > SETTLED_SECONDS:
                failures = 0
            self._count(failure)
            cap = backoff_cap(_BACKOFF_SECONDS, failures, _BACKOFF_CAP_SECONDS)
            failures += 1
            await self._sleep(backoff_pause(cap, self._rng, failure.retry_after))

    async def _one_connection(self) -> SourceError:
        """Until it is over, whatever ended it, which is returned."""
        try:
            return await self._connected()
        except SourceError as error:
            return error
        except Exception as error:  # noqa: BLE001  a stream that died of it would never come back
            return self._failure_of(error)
        finally:
            self.connected = False

    def _failure_of(self, error: Exception) -> SourceError:
        """Without the error itself, which may hold the address, and so the key."""
        match error:
            case aiohttp.WSServerHandshakeError():
                return self._no_handshake(error)
            case TimeoutError():
                return SourceError("timeout", "no connection in time, or it went silent")
            case aiohttp.InvalidURL() | aiohttp.NonHttpUrlClientError():
                return SourceError("http", "the stream's address is not valid: correct it")
            case aiohttp.ClientError() | OSError():
                return connection_failure(error, self._key, self._proxy)
        return SourceError("error", f"it failed with {type(error).__name__}")

    async def _connected(self) -> SourceError:
        settings = self._settings
        async with (
            aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(), middlewares=(_no_redirect,)
            ) as session,
            asyncio.timeout(settings.connect_timeout + settings.read_timeout) as patience,
            session.ws_connect(
                self._url, params={"api_key": self._key.reveal()}, decode_text=False,
                max_msg_size=_LARGEST_MESSAGE_BYTES,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING_SECONDS),
                **request_arguments(self._url, {}, self._proxy),
            ) as socket,
        ):  # fmt: skip
            for channel, symbols in self._wanted.items():
                data = {"channel": channel, "symbols": list(symbols)}
                await socket.send_str(orjson.dumps({"cmd": "subscribe", "data": data}).decode())
            patience.reschedule(None)
            self._opened.inc()
            self.connected = True
            pinging = asyncio.create_task(self._ping(socket))
            try:
                return await self._read(socket)
            finally:
                pinging.cancel()
                await asyncio.gather(pinging, return_exceptions=True)

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await socket.send_str('{"cmd":"ping"}')

    async def _read(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> SourceError:
        used, refused_at = self._messages.used, None
        refusal: SourceError | None = None
        count = 0
        while True:
            count += 1
            if count % _MESSAGES_AT_ONCE == 0:
                await asyncio.sleep(0)  # what has come is received without a wait
            message = await socket.receive(timeout=SILENT_SECONDS)
            if message.type is aiohttp.WSMsgType.ERROR:
                return SourceError("malformed", "a message is too large or breaks off")
            if message.type in _ENDED:
                return refusal or self._closed(socket, message.extra)
            if message.type not in _MESSAGE_TYPES:
                continue
            refused = self._messages.read(message.data)
            now = self._clock.monotonic()
            if refused is not None:
                refusal = _with_pause(refused)
                if refused.code not in _ABOUT_A_SUBSCRIPTION:
                    return refusal
                self._count(refusal)
                refused_at = now if refused_at is None else refused_at
            if self._messages.used > used:
                refusal = refused_at = None
            elif refusal and refused_at is not None and now - refused_at > REFUSED_SECONDS:
                return refusal

    def _closed(self, socket: aiohttp.ClientWebSocketResponse[bool], words: object) -> SourceError:
        code = socket.close_code
        said = f" with code {code}" if code not in (None, 1000, 1006) else ""
        if said and isinstance(words, str) and words:
            said += f": {self._key.redact(words)}"
        return SourceError("connect", f"the server ended the connection{said}")

    def _no_handshake(self, error: aiohttp.WSServerHandshakeError) -> SourceError:
        status = error.status
        headers: Mapping[str, str] = error.headers or {}
        if status == PROXY_REFUSES and self._proxy:
            return proxy_refusal(status, self._proxy)
        text = f"HTTP {status} instead of a WebSocket"
        if status == 101:
            return SourceError("malformed", "the server does not answer as a WebSocket does")
        if status in (401, 403):
            text = f"HTTP {status}: the key or the plan is refused"
        elif status == 404:
            text += ": is `stream_url` right?"
        return _with_pause(by_status(status, text, asked_pause(headers, None, self._clock.now())))

    def _count(self, error: SourceError) -> None:
        self._failures.labels(self.name, error.reason).inc()
        self._trouble.say(error.reason, error.message)


def stream_url(settings: TickDBSettings, url: str) -> str:
    """The address of the WebSocket, without the key: `stream_url`, or next to the API."""
    return settings.stream_url or f"{url.replace('http', 'ws', 1).rstrip('/')}/realtime"


def _with_pause(error: SourceError) -> SourceError:
    """What will probably be refused again is tried after a minute at the earliest."""
    if error.reason in ("http", "malformed") or 5000 <= (error.code or 0) < 6000:
        return error
    pause = max(error.retry_after or 0.0, REFUSED_SECONDS)
    return SourceError(error.reason, error.message, retry_after=pause, code=error.code)


async def _no_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await handler(request)
    if 300 <= response.status < 400:
        response.close()
        raise SourceError(
            "http",
            f"HTTP {response.status}: the server redirects, and the key is not sent elsewhere; "
            "correct `stream_url`",
        )
    return response
