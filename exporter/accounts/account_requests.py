"""Requests to a broker's HTTP API: retried, paced and counted as those of sources are."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from exporter.config import AccountSettings
from exporter.metrics import Metrics
from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.sources.rate_limiter import RATE_PAUSE_SECONDS
from exporter.sources.retry import Received, Requests
from exporter.sources.transport import RawAnswer, Transport
from exporter.util.backoff import retry_after_seconds
from exporter.util.clock import Clock
from exporter.util.proxy import proxy_for

_SHOWN = 200
Sleep = Callable[[float], Awaitable[None]]
Parse = Callable[[bytes], Any]


def parse_json(body: bytes) -> Any:
    """Numbers as Decimal, so that no digit is lost. Raises ValueError."""
    return json.loads(body, parse_float=Decimal, parse_constant=_refuse)


def _refuse(word: str) -> Any:
    raise ValueError(word)


class AccountRequests:
    """The requests of one account. `secrets` stay out of every text."""

    def __init__(
        self,
        name: str,
        settings: AccountSettings,
        metrics: Metrics,
        clock: Clock,
        *,
        url: str,
        secrets: Iterable[str],
        endpoints: Iterable[str],
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self.name, self.clock, self.sleep = name, clock, sleep
        self._key = Key("", *(text for text in secrets if text))
        self._requests = Requests(
            name, settings, metrics, clock, endpoints=endpoints, sleep=sleep, rng=random.Random()
        )
        self._transport = Transport(
            url, self._key, settings.connect_timeout, settings.read_timeout,
            proxy_for(url, settings.proxy, os.environ),
        )  # fmt: skip

    async def ask(
        self,
        endpoint: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        *,
        headers: Mapping[str, str],
        method: str = "GET",
        parse: Parse = parse_json,
        check: Callable[[Any], None] = lambda _: None,
    ) -> Any:
        """The parsed body of one good answer. `check` raises SourceError for one that is an error
        though its status is 200. Raises :class:`SourceError`."""

        async def send(held: contextlib.AsyncExitStack) -> Received:
            async def is_large() -> None:
                await held.enter_async_context(self._requests.one_large)

            with self._requests.timed(endpoint):
                raw = await self._transport.ask(method, path, parameters or {}, headers, is_large)
            if raw.status >= 300:
                raise self._by_status(raw)
            try:
                data = parse(bytes(raw.body))
            except (ValueError, RecursionError):
                kind = raw.headers.get("Content-Type", "no type").partition(";")[0][:40]
                text = f"HTTP {raw.status}, but {len(raw.body)} bytes of {kind} cannot be read"
                raise SourceError("malformed", text, retryable=True) from None
            check(data)
            return Received(data, raw.is_large)

        return await self._requests.send(
            endpoint, send, lambda data, _: data, what=(path, str(parameters)), urgent=False
        )

    def count(self, endpoint: str, error: SourceError) -> None:
        """Count an answer that was read and cannot be used."""
        self._requests.count(endpoint, error)

    def _by_status(self, raw: RawAnswer) -> SourceError:
        said = self._key.redact(bytes(raw.body[:2000]).decode("utf-8", "replace"))
        text = f"HTTP {raw.status}: {' '.join(said.split())[:_SHOWN] or 'no text'}"
        asked = retry_after_seconds(raw.headers, self.clock.now())
        if raw.status in (418, 429):
            pause = RATE_PAUSE_SECONDS if asked is None else asked
            return SourceError("rate_limit", text, retryable=True, retry_after=pause)
        if raw.status in (401, 403):
            return SourceError("auth", text)
        if raw.status < 400:
            text = f"HTTP {raw.status}: the server redirects, and keys are not sent elsewhere"
        retryable = raw.status >= 500 or raw.status == 408
        return SourceError("http", text, retryable=retryable, retry_after=asked)

    async def close(self) -> None:
        """End all connections and all waiting."""
        await self._requests.close()
        await self._transport.close()


def field(data: Any, name: str, what: str) -> Any:
    """A field of an answer that must be there. Raises :class:`SourceError`."""
    if not isinstance(data, Mapping) or data.get(name) is None:
        raise SourceError("malformed", f"{what} has no `{name}`: its format is another one")
    return data[name]


def rows(data: Any, what: str) -> list[Mapping[str, Any]]:
    """A list of objects. Raises :class:`SourceError`."""
    if not isinstance(data, list) or not all(isinstance(one, Mapping) for one in data):
        raise SourceError("malformed", f"{what} is not a list of objects: its format is another")
    return data
