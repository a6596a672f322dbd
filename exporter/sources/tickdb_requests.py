"""One request to TickDB, by HTTP and with its envelope."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from exporter.config import TickDBSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import Key
from exporter.sources.envelope import read_envelope
from exporter.sources.retry import Read, Received, Requests, aside
from exporter.sources.server_clock import ServerClock
from exporter.sources.transport import RawAnswer, Transport
from exporter.util.clock import Clock
from exporter.util.proxy import proxy_for

T = TypeVar("T")


class Fetcher:
    """Sends the requests of one source. `sleep` and `rng` are passed in for tests."""

    def __init__(
        self,
        name: str,
        settings: TickDBSettings,
        key: Key,
        metrics: Metrics,
        clock: Clock,
        *,
        url: str,
        endpoints: Iterable[str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self._key, self._clock = key, clock
        self._requests = Requests(
            name, settings, metrics, clock, endpoints=endpoints, sleep=sleep, rng=rng
        )
        self._transport = Transport(
            url, key, settings.connect_timeout, settings.read_timeout,
            proxy_for(url, settings.proxy, os.environ),
        )  # fmt: skip
        self._server_clock = ServerClock()
        self.out_since = self._requests.out_since

    async def close(self) -> None:
        """End all connections and all waiting."""
        await self._requests.close()
        await self._transport.close()

    def clock_offset(self) -> float:
        """Seconds by which our clock is ahead of the source's; NaN while nobody knows."""
        return self._server_clock.offset(self._clock.now(), self._clock.monotonic())

    async def fetch(
        self,
        endpoint: str,
        parameters: Mapping[str, str],
        read: Read[T],
        *,
        urgent: bool,
        symbol: str | None = None,
    ) -> T:
        """What `read` makes of the data of one good answer; see :meth:`.retry.Requests.send`."""

        async def ask(held: contextlib.AsyncExitStack) -> Received:
            raw = await self._answer(endpoint, parameters, held)
            arguments = raw.status, raw.headers, raw.body, self._clock.now(), self._key.redact
            return Received(await aside(raw.is_large, read_envelope, *arguments), raw.is_large)

        what = parameters.get("symbols") or symbol, parameters.get("interval")
        return await self._requests.send(
            endpoint, ask, read, what=what, urgent=urgent, symbol=symbol
        )

    async def _answer(
        self, endpoint: str, parameters: Mapping[str, str], held: contextlib.AsyncExitStack
    ) -> RawAnswer:
        async def is_large() -> None:
            await held.enter_async_context(self._requests.one_large)

        started = self._clock.monotonic()
        with self._requests.timed(endpoint):
            raw = await self._transport.get(endpoint, parameters, is_large)
        self._server_clock.answered(raw.headers, started, self._clock.monotonic())
        return raw
