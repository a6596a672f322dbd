"""A real HTTP server whose answers a test dictates, and a client of it that never really waits."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from prometheus_client import CollectorRegistry

from exporter.config import TickDBSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import Key
from exporter.sources.tickdb import TickDB
from tests.unit.clocks import ManualClock

KEY = "sk-S3cret/Key+42"
NOW = 1_790_000_000.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def row(start: float, price: float = 100.0, **changed: Any) -> dict[str, Any]:
    """One kline as TickDB writes it; `start` in seconds."""
    prices = {"open": price, "high": price + 1, "low": price - 1, "close": price + 0.5}
    return {
        "time": int(start * 1000),
        **{name: str(value) for name, value in prices.items()},
        "volume": "1000",
        "quote_volume": "100000",
        **changed,
    }


def series(symbol: str, rows: Any, interval: str = "1m") -> dict[str, Any]:
    """One symbol's entry of a kline answer."""
    return {"symbol": symbol, "interval": interval, "klines": rows}


def good(data: Any) -> web.Response:
    """The envelope of a good answer."""
    return web.json_response({"code": 0, "message": "success", "data": data})


def error(code: Any, message: str = "no", *, status: int = 200, **more: Any) -> web.Response:
    """The envelope of a bad answer."""
    headers = more.pop("headers", None)
    body = {"code": code, "message": message, **more}
    return web.json_response(body, status=status, headers=headers)


def latest_of(request: web.Request) -> web.Response:
    """Two bars of every symbol asked for."""
    symbols = request.query["symbols"].split(",")
    bars = [row(NOW - 120), row(NOW - 60)]
    return good([series(symbol, bars, request.query["interval"]) for symbol in symbols])


class Server:
    """Answers from `script`, one entry a request, the last one for ever; keeps the requests."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.script: list[Any] = [latest_of]
        self.requests: list[web.Request] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        entry = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        answer = entry(request) if callable(entry) else entry
        if asyncio.iscoroutine(answer):
            answer = await answer
        if not isinstance(answer, web.StreamResponse):
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            answer = web.Response(body=body, content_type="application/json")
        if not answer.prepared:
            answer.headers.setdefault("Date", formatdate(self.now(), usegmt=True))
        return answer


class Bench:
    """A server, a client of it, its metrics, and the time that the client believes in."""

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock(NOW)
        self.server = Server(self.clock.now)
        self.metrics = Metrics(CollectorRegistry())
        self.slept: list[float] = []
        settings = {"requests_per_minute": 6000, "api_key_env": "K", "url": "http://x", **settings}
        self.settings = TickDBSettings(type="tickdb", **settings)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    def value(self, name: str, **labels: str) -> float:
        """A sample's value; 0 for none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def bad_symbols(self, endpoint: str = "/market/kline/latest") -> dict[str, float]:
        """Symbols that could not be used, by reason, those above 0."""
        return self.failures(endpoint, "quant_fetch_bad_symbols_total")

    def failures(
        self, endpoint: str = "/market/kline/latest", name: str = "quant_fetch_failures_total"
    ) -> dict[str, float]:
        """Failures of one endpoint by reason, those above 0."""
        samples = {
            sample.labels["reason"]: sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == name and sample.labels["endpoint"] == endpoint
        }
        return {reason: value for reason, value in samples.items() if value}

    @asynccontextmanager
    async def client(self, url: str = "") -> AsyncIterator[TickDB]:
        """The client, connected to the server under /v1."""
        app = web.Application()
        app.router.add_get("/v1/{path:.*}", self.server.answer)
        async with TestServer(app) as listening:
            source = TickDB(
                "main", self.settings, Key(KEY), self.metrics, self.clock,
                url=url or str(listening.make_url("/v1")), sleep=self.sleep, rng=random.Random(1),
            )  # fmt: skip
            try:
                yield source
            finally:
                await source.close()
