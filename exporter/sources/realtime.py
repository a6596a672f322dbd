"""TickDB's WebSocket: last prices as they come.

Messages and limits are those of docs.tickdb.ai (quick start, subscribe): a subscription is one
symbol on one channel, ``{"cmd": "ping"}`` every second keeps the connection, and the key is part of
the address, which is therefore shown nowhere. That the connection stands is no sign of data: what
counts is the age of the newest message of each symbol.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from exporter.config import TickDBSettings
from exporter.metrics import FETCH_REASONS, Metrics
from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.sources.parse import read_tickers
from exporter.util.backoff import backoff_cap, backoff_pause
from exporter.util.clock import Clock
from exporter.util.proxy import proxy_for

PING_SECONDS = 1.0
SILENT_SECONDS = 120.0
"""A connection on which nothing comes for so long, not even answers to pings, is replaced."""
_LARGEST_MESSAGE_BYTES = 1_000_000
_BACKOFF_SECONDS, _BACKOFF_CAP_SECONDS = 1.0, 60.0
_REFUSED_SECONDS = 60.0
"""Pause after a refusal that another try will probably meet again: the key, the plan."""
_OLD_SECONDS = 300.0
"""A message about a moment so long ago says nothing of now."""
BAD_REASONS = ("malformed", "wrong_time", "unknown_symbol", "old")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """One message about one symbol. `at` is when its price was made, Unix seconds."""

    symbol: str
    price: float
    at: float


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
        self._url = stream_url(settings, url)
        self._wanted = {channel: tuple(symbols) for channel, symbols in wanted.items()}
        self._symbols = frozenset(s for symbols in self._wanted.values() for s in symbols)
        self._negative = frozenset(settings.negative_prices)
        self._on_tick = on_tick
        self._sleep, self._rng = sleep, rng or random.Random()
        self._newest: dict[str, float] = {}
        self._said: str | None = None
        self._opened = metrics.counter("quant_stream_connections_total").labels(name)
        self._failures = metrics.counter("quant_stream_failures_total")
        self._messages = metrics.counter("quant_stream_messages_total")
        self._bad = metrics.counter("quant_stream_bad_messages_total")
        for reason in FETCH_REASONS:
            self._failures.labels(name, reason)
        for reason in BAD_REASONS:
            self._bad.labels(name, reason)
        for channel in self._wanted:
            self._messages.labels(name, channel)

    async def run(self) -> None:
        """Until cancelled: connect, read, and connect again after a pause that grows."""
        failures = 0
        while True:
            before = len(self._newest), max(self._newest.values(), default=-math.inf)
            try:
                await self._one_connection()
            except SourceError as error:
                failure = error
            if (len(self._newest), max(self._newest.values(), default=-math.inf)) != before:
                failures = 0  # it brought something
            self._count(failure)
            cap = backoff_cap(_BACKOFF_SECONDS, failures, _BACKOFF_CAP_SECONDS)
            failures += 1
            await self._sleep(backoff_pause(cap, self._rng, failure.retry_after))

    async def _one_connection(self) -> None:
        """Raises :class:`SourceError` when it is over, whatever ended it."""
        failure: SourceError
        try:
            await self._connected()
            failure = SourceError("connect", "the server ended the connection")
        except SourceError as error:
            failure = error
        except aiohttp.WSServerHandshakeError as error:
            failure = _refused(error.status)
        except TimeoutError:
            failure = SourceError("timeout", "no connection in time, or it went silent")
        except (aiohttp.ClientError, OSError) as error:
            what = getattr(error, "strerror", None) or type(error).__name__
            failure = SourceError("connect", f"connection failed: {self._key.redact(what)}")
        finally:
            self.connected = False
        # Raised here, outside of the handlers: aiohttp's exceptions hold the address with the key.
        raise failure

    async def _connected(self) -> None:
        settings = self._settings
        proxy = proxy_for(self._url.replace("ws", "http", 1), settings.proxy, os.environ)
        auth = aiohttp.BasicAuth(proxy.user, proxy.password) if proxy and proxy.user else None
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session,
            asyncio.timeout(settings.connect_timeout + settings.read_timeout) as patience,
            session.ws_connect(
                self._url, params={"api_key": self._key.reveal()},
                max_msg_size=_LARGEST_MESSAGE_BYTES,
                proxy=proxy.url if proxy else None, proxy_auth=auth,
            ) as socket,
        ):  # fmt: skip
            patience.reschedule(None)
            self._opened.inc()
            self.connected = True
            for channel, symbols in self._wanted.items():
                data = {"channel": channel, "symbols": list(symbols)}
                await socket.send_str(orjson.dumps({"cmd": "subscribe", "data": data}).decode())
            pinging = asyncio.create_task(self._ping(socket))
            try:
                await self._read(socket)
            finally:
                pinging.cancel()
                await asyncio.gather(pinging, return_exceptions=True)

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            while True:
                await asyncio.sleep(PING_SECONDS)
                await socket.send_str('{"cmd":"ping"}')

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = await socket.receive(timeout=SILENT_SECONDS)
            if message.type is aiohttp.WSMsgType.TEXT:
                self._handle(message.data.encode())
            elif message.type is aiohttp.WSMsgType.BINARY:
                self._handle(message.data)
            elif message.type is aiohttp.WSMsgType.ERROR:
                raise SourceError("malformed", "a message is too large or breaks off")
            elif message.type in (
                aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED
            ):  # fmt: skip
                return

    def _handle(self, text: bytes) -> None:
        """One message. Raises :class:`SourceError` for one that ends the connection."""
        try:
            message = orjson.loads(text)
        except ValueError:
            self._reject("malformed", f"{len(text)} bytes that are not JSON")
            return
        if not isinstance(message, dict):
            self._reject("malformed", "JSON, but not an object")
            return
        code = message.get("code", 0)
        if code not in (0, None, "0", 200):
            raise self._refusal(code, message)
        channel = message.get("cmd")
        if channel not in self._wanted:
            return  # the answer to a ping or a subscription
        data = message.get("data")
        for entry in data if isinstance(data, list) else [data]:
            self._take(str(channel), entry)

    def _take(self, channel: str, entry: Any) -> None:
        symbol = entry.get("symbol") if isinstance(entry, dict) else None
        if symbol not in self._symbols:
            self._reject("unknown_symbol", "about a symbol that nobody subscribed to")
            return
        now = self._clock.now()
        price = entry.get("last_price", entry.get("price"))
        row = {"symbol": symbol, "last_price": price, "timestamp": entry.get("timestamp")}
        answer = read_tickers([row], (symbol,), now, self._negative)
        if symbol in answer.bad:
            error = answer.bad[symbol]
            self._reject(error.reason, error.message)
            return
        ticker = answer.good[symbol]
        if ticker.at < now - _OLD_SECONDS:
            self._reject("old", f"{symbol}: about a moment {now - ticker.at:.0f} s ago")
            return
        if channel == "ticker" and ticker.at <= self._newest.get(symbol, -math.inf):
            self._bad.labels(self.name, "old").inc()  # said again: nothing new, so not fresh
            return
        self._newest[symbol] = max(ticker.at, self._newest.get(symbol, -math.inf))
        self._messages.labels(self.name, channel).inc()
        self._well()
        self._on_tick(Tick(symbol, ticker.last, ticker.at))

    def _refusal(self, code: Any, message: Mapping[str, Any]) -> SourceError:
        words = self._key.redact(message.get("message") or message.get("error") or "no message")
        text = f"the source answered {self._key.redact(code)}: {words}"
        number = int(code) if str(code).isdigit() else 0
        if number == 3003:
            return SourceError("rate_limit", text, code=number, retry_after=_REFUSED_SECONDS)
        reason = "auth" if 1000 <= number < 2000 or not number else "api"
        return SourceError(reason, text, code=number, retry_after=_REFUSED_SECONDS)

    def _reject(self, reason: str, text: str) -> None:
        reason = reason if reason in BAD_REASONS else "malformed"
        self._bad.labels(self.name, reason).inc()
        self._say(f"a message cannot be used: {self._key.redact(text)}", reason)

    def _count(self, error: SourceError) -> None:
        self._failures.labels(self.name, error.reason).inc()
        self._say(error.message, error.reason)

    def _say(self, text: str, reason: str) -> None:
        """Once for each kind of trouble, until something good comes."""
        if reason != self._said:
            self._said = reason
            _log.warning(
                "%s stream: %s", self.name, text,
                extra={"event": "stream_trouble", "source": self.name, "reason": reason},
            )  # fmt: skip

    def _well(self) -> None:
        if self._said:
            self._said = None
            _log.info(
                "%s stream: prices come again", self.name,
                extra={"event": "stream_well", "source": self.name},
            )  # fmt: skip


def stream_url(settings: TickDBSettings, url: str) -> str:
    """The address of the WebSocket, without the key: `stream_url`, or next to the API."""
    return settings.stream_url or f"{url.replace('http', 'ws', 1).rstrip('/')}/realtime"


def _refused(status: int) -> SourceError:
    if status in (401, 403):
        return SourceError("auth", f"HTTP {status}: refused", retry_after=_REFUSED_SECONDS)
    if status == 429:
        return SourceError("rate_limit", "HTTP 429: too many", retry_after=_REFUSED_SECONDS)
    return SourceError("http", f"HTTP {status} instead of a WebSocket")
