"""``python -m benchmarks.children.market PORT LATENCY_SECONDS``: a TickDB that costs nothing.

Every symbol trades round the clock at prices that repeat, so that what a figure shows is the client
and not a simulation. ``/requests`` tells how many requests came. Its WebSocket sends a message
about each subscribed symbol once a second, evenly spread; the price is when it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

from aiohttp import web

_BAR = (
    '{{"time":{},"open":"100.1","high":"100.9","low":"99.8","close":"{}",'
    '"volume":"1000","quote_volume":"100400"}}'
)
_SERIES = '{{"symbol":"{}","interval":"{}","klines":[{}]}}'
_LENGTHS = {"1m": 60_000, "1h": 3_600_000}
"""Milliseconds of the intervals that it has."""
_TICKER = (
    '{{"symbol":"{}","last_price":"100.4","bid_price":"100.3","ask_price":"100.5","timestamp":{}}}'
)
_MESSAGE = (
    '{{"cmd":"ticker","data":{{"symbol":"{}","last_price":"{:.3f}","volume_24h":"23737.52989000",'
    '"high_24h":"71321.00000000","low_24h":"69205.91000000","price_change_24h":"-362.06000000",'
    '"price_change_percent_24h":"-0.511","timestamp":{}}}}}'
)
PRICE_MODULUS = 1e6
"""A price is the Unix time modulo this, in seconds."""
_TICK_SECONDS = 0.01


class Market:
    """Answers after a latency."""

    def __init__(self, latency_seconds: float) -> None:
        self._latency = latency_seconds
        self._requests = 0

    def app(self) -> web.Application:
        """The endpoints that the exporter asks."""
        app = web.Application()
        app.router.add_get("/requests", self._count)
        app.router.add_get("/v1/market/kline", self._series)
        app.router.add_get("/v1/market/kline/latest", self._latest)
        app.router.add_get("/v1/market/ticker", self._tickers)
        app.router.add_get("/v1/realtime", self._stream)
        return app

    async def _count(self, request: web.Request) -> web.Response:
        return web.Response(text=str(self._requests))

    async def _latest(self, request: web.Request) -> web.Response:
        symbols, bars = request.query["symbols"].split(","), _newest("1m")
        series = (_SERIES.format(symbol, "1m", bars) for symbol in symbols)
        return await self._answer("[" + ",".join(series) + "]")

    async def _series(self, request: web.Request) -> web.Response:
        asked = request.query
        interval = asked["interval"]
        if "start_time" in asked:
            first, last = int(asked["start_time"]), int(asked["end_time"])
            bars = _bars(interval, first, last, int(asked["limit"]))
        else:
            bars = _newest(interval)
        return await self._answer(_SERIES.format(asked["symbol"], interval, bars))

    async def _tickers(self, request: web.Request) -> web.Response:
        now = int(time.time() * 1000)
        symbols = request.query["symbols"].split(",")
        return await self._answer("[" + ",".join(_TICKER.format(s, now) for s in symbols) + "]")

    async def _stream(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sending: asyncio.Task[None] | None = None
        async for message in socket:
            order = json.loads(message.data)
            if order["cmd"] == "subscribe":
                sending = asyncio.create_task(_send(socket, order["data"]["symbols"]))
        if sending:
            sending.cancel()
        return socket

    async def _answer(self, data: str) -> web.Response:
        self._requests += 1
        if self._latency:
            await asyncio.sleep(self._latency)
        text = f'{{"code":0,"message":"success","data":{data}}}'
        return web.Response(text=text, content_type="application/json")


async def _send(socket: web.WebSocketResponse, symbols: list[str]) -> None:
    began, sent = time.monotonic(), 0
    with contextlib.suppress(ConnectionError):
        while True:
            due = int((time.monotonic() - began) * len(symbols))
            for place in range(sent, due):
                now = time.time()
                text = _MESSAGE.format(
                    symbols[place % len(symbols)], now % PRICE_MODULUS, int(now * 1000)
                )
                await socket.send_str(text)
            sent = due
            await asyncio.sleep(_TICK_SECONDS)


def _newest(interval: str) -> str:
    """The newest closed bar, and the forming one."""
    now = int(time.time() * 1000)
    return _bars(
        interval, now // _LENGTHS[interval] * _LENGTHS[interval] - _LENGTHS[interval], now, 2
    )


def _bars(interval: str, first: int, last: int, limit: int) -> str:
    """Bars that start in [first, last], milliseconds: the oldest `limit` of them."""
    length = _LENGTHS[interval]
    starts = range(-(-first // length) * length, last + 1, length)[:limit]
    return ",".join(_BAR.format(start, f"100.{start // length % 9}") for start in starts)


if __name__ == "__main__":
    web.run_app(
        Market(float(sys.argv[2])).app(), host="127.0.0.1", port=int(sys.argv[1]),
        access_log=None, print=None, handle_signals=True,
    )  # fmt: skip
