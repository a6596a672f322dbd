"""TickDB over HTTP, https://api.tickdb.ai/v1 as documented in versions 1.0.2 and 1.0.3.

The same client speaks to the simulator. How one question is asked is in :mod:`.retry`; here is
what is asked, and how hundreds of symbols become few questions.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from exporter.config import INTERVAL_SECONDS, TickDBSettings
from exporter.metrics import Metrics
from exporter.sources import parse
from exporter.sources.api_key import Key
from exporter.sources.base import Answer, Bar, SourceError, Ticker
from exporter.sources.pagination import PAGE_BARS, all_pages
from exporter.sources.parse import Flaw
from exporter.sources.realtime import Realtime
from exporter.sources.realtime_messages import Tick
from exporter.sources.tickdb_requests import Fetcher
from exporter.util.clock import Clock

KLINE, LATEST = "/market/kline", "/market/kline/latest"
TICKER, SUBSCRIPTIONS = "/market/ticker", "/apikeys/subscriptions"
ENDPOINTS = (KLINE, LATEST, TICKER, SUBSCRIPTIONS)
BATCH_SYMBOLS = 50
_UNKNOWN_FOR_SECONDS = 900.0
"""How long a symbol that the source does not know is not asked for again."""
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-^=/]{0,31}")
_SYMBOL_IN_TEXT = re.compile(r"[A-Z0-9](?:[A-Z0-9.\-^=/]{0,30}[A-Z0-9])?")

T = TypeVar("T")
_log = logging.getLogger(__name__)


class TickDB:
    """A :class:`~exporter.sources.base.DataSource`. `sleep` and `rng` are passed in for tests."""

    def __init__(
        self,
        name: str,
        settings: TickDBSettings,
        key: Key,
        metrics: Metrics,
        clock: Clock,
        *,
        url: str,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.simulated = settings.type == "simulated"
        self.has_tickers = True
        self.key_expiry = math.nan
        self._key, self._clock = key, clock
        self._settings, self._metrics, self._url = settings, metrics, url
        self._negative = frozenset(settings.negative_prices)
        self._fetcher = Fetcher(
            name, settings, key, metrics, clock, url=url, endpoints=ENDPOINTS, sleep=sleep, rng=rng
        )
        self._unknown: dict[str, tuple[float, str]] = {}

    def __repr__(self) -> str:
        return f"TickDB({self.name!r})"

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        """The newest bars of each symbol, oldest first; errors are in ``bad``, by symbol."""

        def read(data: Any, batch: Sequence[str], flaws: list[Flaw]) -> Answer[list[Bar]]:
            now = self._clock.now()
            return parse.read_latest(
                data, batch, interval, now, negative=self._negative, flaws=flaws
            )

        problem = _interval_problem(interval)
        if problem:
            return Answer(bad=dict.fromkeys(symbols, problem))
        return await self._in_batches(LATEST, symbols, {"interval": interval}, read)

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        """The newest ticker of each symbol; errors are in ``bad``, by symbol."""

        def read(data: Any, batch: Sequence[str], _: list[Flaw]) -> Answer[Ticker]:
            return parse.read_tickers(data, batch, self._clock.now(), self._negative)

        return await self._in_batches(TICKER, symbols, {}, read)

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """The newest `limit` bars (at most 1000) of one symbol, oldest first.

        There may be hundreds of these requests, so those for whole batches go first.
        """
        limit = max(1, min(limit, PAGE_BARS))
        bars = await self._series(symbol, interval, {"limit": str(limit)}, urgent=False)
        return bars[-limit:]

    async def history(self, symbol: str, interval: str, start: float, end: float) -> list[Bar]:
        """All bars that start in [start, end), oldest first, each once. Long ranges are paged."""
        length = INTERVAL_SECONDS.get(interval, 60.0)

        async def page(low: float, high: float) -> tuple[list[Bar], bool]:
            first, last = math.ceil(low * 1000), math.ceil(high * 1000) - 1
            if last < first:
                return [], False
            span = {"limit": str(PAGE_BARS), "start_time": str(first), "end_time": str(last)}
            bars = await self._series(symbol, interval, span, urgent=False)
            # One interval of slack: a server may round the range to the bars' grid.
            if any(not low - length <= bar.start < high + length for bar in bars):
                raise SourceError(
                    "api",
                    f"{symbol}: the source ignores start_time and end_time; does the plan "
                    "include history?",
                )
            return [bar for bar in bars if low <= bar.start < high], _may_be_cut(len(bars))

        return await all_pages(page, start, end, length) if start < end else []

    async def subscription(self) -> float:
        """When the key expires, Unix seconds; NaN when the source names no end."""

        def read(data: Any, _: list[Flaw]) -> float:
            return parse.read_expiry(data, self._clock.now(), self._key.redact)

        self.key_expiry = await self._fetcher.fetch(SUBSCRIPTIONS, {}, read, urgent=True)
        return self.key_expiry

    def realtime(
        self, wanted: Mapping[str, tuple[str, ...]], on_tick: Callable[[Tick], None]
    ) -> Realtime:
        """A connection to its WebSocket with these symbols by channel; run it."""
        return Realtime(
            self.name, self._settings, self._key, self._metrics, self._clock,
            url=self._url, wanted=wanted, on_tick=on_tick,
        )  # fmt: skip

    def out_since(self) -> float:
        """Since when it has answered nothing, Unix seconds; NaN while it answers."""
        return self._fetcher.out_since()

    def clock_offset(self) -> float:
        """Seconds by which our clock is ahead of its; NaN while nobody knows, and simulated."""
        return math.nan if self.simulated else self._fetcher.clock_offset()

    async def close(self) -> None:
        """End all connections and all waiting."""
        await self._fetcher.close()

    async def _series(
        self, symbol: str, interval: str, more: Mapping[str, str], *, urgent: bool
    ) -> list[Bar]:
        problem = _symbol_problem(symbol) or _interval_problem(interval)
        if problem:
            raise problem

        def read(data: Any, flaws: list[Flaw]) -> list[Bar]:
            now = self._clock.now()
            return parse.read_series(
                data, symbol, interval, now, negative=self._negative, flaws=flaws
            )

        parameters = {"symbol": symbol, "interval": interval, **more}
        return await self._fetcher.fetch(KLINE, parameters, read, urgent=urgent, symbol=symbol)

    async def _in_batches(
        self,
        endpoint: str,
        symbols: Sequence[str],
        parameters: Mapping[str, str],
        read: Callable[[Any, Sequence[str], list[Flaw]], Answer[T]],
    ) -> Answer[T]:
        answer: Answer[T] = Answer()
        asked: list[str] = []
        for symbol in dict.fromkeys(symbols):
            problem = _symbol_problem(symbol) or self._known_as_unknown(symbol)
            if problem:
                answer.bad[symbol] = problem
            else:
                asked.append(symbol)
        batches = [asked[i : i + BATCH_SYMBOLS] for i in range(0, len(asked), BATCH_SYMBOLS)]
        for part in await asyncio.gather(
            *(self._batch(endpoint, batch, parameters, read) for batch in batches)
        ):
            answer.merge(part)
        return answer

    async def _batch(
        self,
        endpoint: str,
        batch: Sequence[str],
        parameters: Mapping[str, str],
        read: Callable[[Any, Sequence[str], list[Flaw]], Answer[T]],
    ) -> Answer[T]:
        def read_batch(data: Any, flaws: list[Flaw]) -> Answer[T]:
            return read(data, batch, flaws)

        asked = {"symbols": ",".join(batch), **parameters}
        try:
            return await self._fetcher.fetch(endpoint, asked, read_batch, urgent=True)
        except SourceError as error:
            if error.code != 2002:
                return Answer(bad=dict.fromkeys(batch, error))
            return await self._without_unknown(endpoint, batch, parameters, read, error)

    async def _without_unknown(
        self,
        endpoint: str,
        batch: Sequence[str],
        parameters: Mapping[str, str],
        read: Callable[[Any, Sequence[str], list[Flaw]], Answer[T]],
        error: SourceError,
    ) -> Answer[T]:
        """Ask again without the symbols that the source does not know: one of them fails its batch.

        Those that the answer names are left out; when it names none, they are found by halving.
        """
        named = set(_SYMBOL_IN_TEXT.findall(error.message)) & set(batch)
        if len(batch) == 1:
            named = set(batch)
        answer: Answer[T] = Answer(bad=dict.fromkeys(named, error))
        for symbol in named:
            self._unknown[symbol] = (self._clock.monotonic(), str(error))
        rest = [symbol for symbol in batch if symbol not in named]
        middle = len(rest) if named else len(rest) // 2
        for part in (rest[:middle], rest[middle:]):
            if part:
                answer.merge(await self._batch(endpoint, part, parameters, read))
        return answer

    def _known_as_unknown(self, symbol: str) -> SourceError | None:
        since, text = self._unknown.get(symbol, (-math.inf, ""))
        if self._clock.monotonic() - since < _UNKNOWN_FOR_SECONDS:
            return SourceError("api", text, code=2002)
        self._unknown.pop(symbol, None)
        return None


def _may_be_cut(count: int) -> bool:
    # A server may cap a page silently below what was asked. Caps are round numbers, or powers of 2;
    # a page that has such a size by chance costs a request more.
    return count > 0 and (count % 10 == 0 or (count >= 64 and count & (count - 1) == 0))


def _symbol_problem(symbol: str) -> SourceError | None:
    if isinstance(symbol, str) and _SYMBOL.fullmatch(symbol):
        return None
    return SourceError(
        "api", f"{str(symbol)[:40]!r} is not a symbol: write AAPL.US, 700.HK, EURUSD"
    )


def _interval_problem(interval: str) -> SourceError | None:
    if interval in INTERVAL_SECONDS:
        return None
    return SourceError(
        "api", f"{str(interval)[:20]!r} is not an interval: write {', '.join(INTERVAL_SECONDS)}"
    )
