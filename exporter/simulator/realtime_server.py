"""The simulator's WebSocket, ``/v1/realtime``: prices once a second, and faults of a stream."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import WSMsgType, web

from exporter.simulator.faults import Fault, Faults

ENDPOINT = "/realtime"
CHANNELS = ("ticker", "trade")
Tickers = Callable[[Sequence[str]], Awaitable[Sequence[Mapping[str, Any]]]]


class RealtimeServer:
    """Serves the connections of one simulator. `tickers` gives the newest of some symbols."""

    def __init__(self, tickers: Tickers, faults: Faults, limit: int, every: float) -> None:
        self._tickers, self._faults = tickers, faults
        self._limit, self._every = limit, every
        self._open = 0
        self._kept: dict[str, Mapping[str, Any]] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection, until the client ends it. The plan has one at a time."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if self._open:
            await socket.send_json({"code": 3003, "message": "Too many connections"})
            await socket.close()
            return socket
        self._open += 1
        subscribed: dict[str, list[str]] = {}
        sending = asyncio.create_task(self._send(socket, request, subscribed))
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._answer(socket, json.loads(message.data), subscribed)
        finally:
            self._open -= 1
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return socket

    async def _answer(
        self, socket: web.WebSocketResponse, order: Any, subscribed: dict[str, list[str]]
    ) -> None:
        if order.get("cmd") == "ping":
            await socket.send_json({"cmd": "pong"})
            return
        data = order.get("data") or {}
        channel, symbols = str(data.get("channel")), list(data.get("symbols") or ())
        if channel not in CHANNELS:
            await socket.send_json({"code": 2001, "message": f"unknown channel {channel}"})
        elif order.get("cmd") == "unsubscribe":
            subscribed.pop(channel, None)
        elif sum(map(len, subscribed.values())) + len(symbols) > self._limit:
            await socket.send_json({"code": 1004, "message": "Too many subscriptions"})
        else:
            subscribed[channel] = symbols
            await socket.send_json({"code": 0, "message": "success", "cmd": "subscribe"})

    async def _send(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        subscribed: Mapping[str, list[str]],
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await asyncio.sleep(self._every)
                for channel, symbols in [*subscribed.items()]:
                    for entry in await self._tickers(symbols):
                        await self._send_one(socket, request, channel, dict(entry))

    async def _send_one(
        self,
        socket: web.WebSocketResponse,
        request: web.Request,
        channel: str,
        entry: dict[str, Any],
    ) -> None:
        symbol = entry["symbol"]
        faults = {f.fault: f for f in self._faults.hit_by(ENDPOINT, [symbol], 0.0)}
        if "stream_stall" in faults:
            return
        if "stream_garbage" in faults:
            await socket.send_bytes(b"\x00\xff{not json")
            return
        if "stream_huge" in faults:
            await socket.send_str(json.dumps({"cmd": channel, "data": "x" * 5_000_000}))
            return
        text = json.dumps({"cmd": channel, "data": self._changed(entry, faults)})
        if "stream_half" in faults and request.transport is not None:
            # A frame that says it has 126 bytes and ends after some (RFC 6455, 5.2).
            request.transport.write(b"\x81\x7e\x00\x7e" + text[:20].encode())
            request.transport.abort()
            return
        await socket.send_str(text)
        if "stream_drop" in faults and request.transport is not None:
            request.transport.abort()

    def _changed(self, entry: dict[str, Any], faults: Mapping[str, Fault]) -> Mapping[str, Any]:
        symbol = str(entry["symbol"])
        if "stream_repeat" in faults:
            return self._kept.setdefault(symbol, entry)
        if "stream_old" in faults:
            entry["timestamp"] -= 3_600_000
        if "stream_future" in faults:
            entry["timestamp"] += 86_400_000
        if "stream_unknown" in faults:
            entry["symbol"] = "NOBODY.US"
        return entry
