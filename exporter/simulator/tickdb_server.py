"""The simulated TickDB over HTTP: keys, the rate limit and faults around :mod:`.answers`.

docs/simulator.md describes the control path under ``/control``.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from typing import Any

from aiohttp import web

from exporter.calendars.loader import CalendarError, Calendars
from exporter.simulator.answers import Answers, ApiError
from exporter.simulator.faults import Fault, Faults
from exporter.simulator.market import SimulatedMarket
from exporter.simulator.realtime_server import ENDPOINT, RealtimeServer
from exporter.util.clock import Clock

_WINDOW_SECONDS = 60.0
_PLANS = {30: "free", 60: "starter", 600: "pro", 1800: "business"}
_HTML = "<!doctype html><html><body><h1>{}</h1><p>simulated</p></body></html>"

Handler = Callable[[Mapping[str, str], Sequence[Fault]], Awaitable[Any]]


class Simulator:
    """A TickDB of made-up prices. :meth:`start` listens, :meth:`close` ends it."""

    def __init__(
        self,
        calendars: Calendars,
        clock: Clock,
        *,
        seed: int = 1,
        requests_per_minute: int = 60,
        api_key: str | None = None,
        latest_bars: int = 2,
        key_expires_in: float = 90 * 86400.0,
        stream_subscriptions: int = 100_000,
        stream_every: float = 1.0,
    ) -> None:
        """Without `api_key` any key will do. `key_expires_in` is in seconds from now."""
        self.faults = Faults(clock)
        self._clock, self._api_key = clock, api_key
        self._limit = requests_per_minute
        self._expires_at = clock.now() + key_expires_in
        self._sent: deque[float] = deque()
        self._counts: Counter[str] = Counter()
        self._most_in_a_minute = 0
        self._random = random.Random(seed)
        answers = Answers(SimulatedMarket(seed), calendars, clock, latest_bars)
        self._handlers: Mapping[str, Handler] = {
            "/market/kline": answers.kline,
            "/market/kline/latest": answers.latest,
            "/market/ticker": answers.ticker,
            "/market/depth": answers.depth,
            "/market/trade-days": answers.trade_days,
            "/market/trading-sessions": answers.trading_sessions,
            "/apikeys/subscriptions": self._subscription,
        }
        self._realtime = RealtimeServer(
            lambda symbols: answers.ticker({"symbols": ",".join(symbols)}, []),
            self.faults, stream_subscriptions, stream_every,
        )  # fmt: skip
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen; port 0 picks a free one. The address of the API, to put into `url:`."""
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError:
            await self.close()
            raise
        bound = self._runner.addresses[0][1]
        return f"http://{f'[{host}]' if ':' in host else host}:{bound}/v1"

    async def close(self) -> None:
        """Stop listening and end all connections."""
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    def app(self) -> web.Application:
        """The API under /v1 and the control path."""
        app = web.Application()
        app.on_response_prepare.append(self._date)
        app.router.add_get("/v1" + ENDPOINT, self._stream)
        app.router.add_get("/v1/{path:.*}", self._api)
        app.router.add_get("/control/faults", self._show_faults)
        app.router.add_post("/control/faults", self._add_fault)
        app.router.add_delete("/control/faults", self._remove_faults)
        app.router.add_delete(r"/control/faults/{id:\d{1,9}}", self._remove_faults)
        app.router.add_get("/control/stats", self._stats)
        return app

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        """The time of the answer by the simulator's own clock, which may be moved."""
        response.headers["Date"] = formatdate(self._clock.now(), usegmt=True)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self._counts[ENDPOINT] += 1
        key = request.query.get("api_key")
        if not key or self._api_key not in (None, key):
            return _failure(ApiError(1001, "Invalid or expired token"))
        if any(fault.fault == "stream_refuse" for fault in self.faults.all()):
            return web.Response(status=503)
        return await self._realtime.handle(request)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        endpoint = "/" + request.match_info["path"]
        self._counts[endpoint if endpoint in self._handlers else "unknown"] += 1
        query = request.query
        symbols = query.get("symbols", query.get("symbol", "")).split(",")
        faults = self.faults.hit_by(endpoint, symbols, self._random.random())
        named = {fault.fault: fault for fault in faults}
        if "latency" in named:
            await asyncio.sleep(named["latency"].seconds)
        try:
            broken = await self._break(request, named)
            if broken is not None:
                return broken
            self._check_key(request)
            self._check_limits(query, named)
            handler = self._handlers.get(endpoint)
            if handler is None:
                raise ApiError(2001, "no such endpoint")
            body = {"code": 0, "message": "success", "data": await handler(query, faults)}
        except ApiError as error:
            return _failure(error)
        except (CalendarError, LookupError) as error:
            return _failure(ApiError(5000, str(error)))
        text = json.dumps(body)
        if "truncate" in named:
            text = text[: len(text) // 2]
        return web.Response(text=text, content_type="application/json")

    def _check_key(self, request: web.Request) -> None:
        key = request.headers.get("X-API-Key")
        if not key:
            raise ApiError(1002, "API key is required")
        if self._api_key is not None and key != self._api_key:
            raise ApiError(1001, "Invalid or expired token")

    def _check_limits(self, query: Mapping[str, str], named: Mapping[str, Fault]) -> None:
        now = self._clock.monotonic()
        while self._sent and self._sent[0] + _WINDOW_SECONDS <= now:
            self._sent.popleft()
        if "rate_limit" in named:
            storm = named["rate_limit"]
            raise self._limited(3001, storm.retry_after, storm.status or 429)
        if len(self._sent) >= self._limit:
            raise self._limited(3001, math.ceil(self._sent[0] + _WINDOW_SECONDS - now), 429)
        self._sent.append(now)
        self._most_in_a_minute = max(self._most_in_a_minute, len(self._sent))
        if "quota" in named:
            raise self._limited(3002, named["quota"].retry_after, 200)
        if "auth" in named:
            raise ApiError(1001, "Invalid or expired token")
        if "server_error" in named:
            raise ApiError(5000, "Internal error")
        if "no_history" in named and {"start_time", "end_time"} & query.keys():
            raise ApiError(1004, "start_time and end_time are not in your plan")

    def _limited(self, code: int, left: float | None, status: int) -> ApiError:
        data: dict[str, Any] = {"limit": self._limit, "plan": _PLANS.get(self._limit, "custom")}
        if left is not None:
            data["reset_at"] = math.ceil(self._clock.now() + left)
        message = "Rate limit exceeded" if code == 3001 else "Quota exceeded"
        return ApiError(code, message, data, status=status, retry_after=left)

    async def _break(
        self, request: web.Request, named: Mapping[str, Fault]
    ) -> web.StreamResponse | None:
        """The answer of a fault that concerns HTTP itself, or None."""
        if "hang" in named:
            await asyncio.sleep(3600)
        if "disconnect" in named and request.transport is not None:
            request.transport.abort()
            raise asyncio.CancelledError
        if "drip" in named:
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(3600):
                await response.write(b" ")
                await asyncio.sleep(1)
            return response
        if "redirect" in named:
            return web.Response(status=302, headers={"Location": "/elsewhere"})
        if "html" in named:
            return web.Response(text=_HTML.format("Maintenance"), content_type="text/html")
        if "http" in named:
            status = named["http"].status or 502
            text = _HTML.format(f"HTTP {status}")
            return web.Response(status=status, text=text, content_type="text/html")
        return None

    async def _subscription(self, query: Mapping[str, str], faults: Sequence[Fault]) -> Any:
        left = max(0, int(self._expires_at - self._clock.now()))
        return {
            "plan": _PLANS.get(self._limit, "custom"),
            "status": "active" if left else "expired",
            "remaining_seconds": left,
            "expires_at": int(self._expires_at),
        }

    async def _show_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": [fault.public() for fault in self.faults.all()]})

    async def _add_fault(self, request: web.Request) -> web.Response:
        # A page in a browser cannot send this type to another origin without being allowed to.
        if request.content_type != "application/json":
            return web.json_response({"error": "send Content-Type: application/json"}, status=415)
        try:
            fault = self.faults.add(await request.json())
        except ValueError as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(fault.public(), status=201)

    async def _remove_faults(self, request: web.Request) -> web.Response:
        number = request.match_info.get("id")
        removed = self.faults.remove(None if number is None else int(number))
        status = 404 if number is not None and not removed else 200
        return web.json_response({"removed": removed}, status=status)

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "now": self._clock.now(),
                "requests": dict(self._counts),
                "most_requests_in_a_minute": self._most_in_a_minute,
                "requests_per_minute": self._limit,
            }
        )


def _failure(error: ApiError) -> web.Response:
    if error.code == 1001:  # the documented form with the code in words
        words = {
            "error": "Unauthorized",
            "message": f"[1001] {error.message}",
            "code": error.message,
        }
        return web.json_response(words, status=401)
    headers = {} if error.retry_after is None else {"Retry-After": f"{error.retry_after:g}"}
    data = {} if error.data is None else {"data": error.data}
    body = {"code": error.code, "message": error.message, **data}
    return web.json_response(body, status=error.status, headers=headers)


async def serve(
    host: str,
    port: int,
    *,
    calendars: Calendars,
    clock: Clock,
    seed: int = 1,
    requests_per_minute: int = 60,
    api_key: str | None = None,
    started: Callable[[str], None] = lambda url: None,
) -> None:
    """Run a simulator until cancelled. `started` is called with the API's address.

    Raises :class:`OSError` when the port is in use.
    """
    simulator = Simulator(
        calendars, clock, seed=seed, requests_per_minute=requests_per_minute, api_key=api_key
    )
    started(await simulator.start(host, port))
    try:
        await asyncio.Event().wait()
    finally:
        await simulator.close()
