"""TickDB over HTTP, https://api.tickdb.ai/v1 as documented in versions 1.0.2 and 1.0.3.

The same client speaks to the simulator. Retries, pacing and the stop after a used-up quota happen
in one place, :meth:`TickDB._ask`; callers see an answer or one :class:`SourceError`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from exporter.clock import Clock, iso
from exporter.config import INTERVAL_SECONDS
from exporter.config import Source as Settings
from exporter.metrics import FETCH_REASONS, Metrics, Sample
from exporter.sources import parse
from exporter.sources.base import Answer, Bar, SourceError, Ticker
from exporter.sources.budget import Budget
from exporter.sources.envelope import read_envelope
from exporter.sources.keys import Key
from exporter.sources.paging import PAGE_BARS, all_pages
from exporter.sources.transport import Transport

KLINE, LATEST = "/market/kline", "/market/kline/latest"
TICKER, SUBSCRIPTIONS = "/market/ticker", "/apikeys/subscriptions"
ENDPOINTS = (KLINE, LATEST, TICKER, SUBSCRIPTIONS)
BATCH_SYMBOLS = 50
_BACKOFF_SECONDS, _BACKOFF_CAP_SECONDS = 1.0, 30.0
_UNKNOWN_FOR_SECONDS = 900.0
"""How long a symbol that the source does not know is not asked for again."""
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-^=/]{0,31}")

T = TypeVar("T")
_log = logging.getLogger(__name__)


class TickDB:
    """A :class:`~exporter.sources.base.Source`. `sleep` and `rng` are passed in for tests."""

    def __init__(
        self,
        name: str,
        settings: Settings,
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
        self.key_expiry = math.nan
        self._retries = settings.retries
        self._key, self._clock = key, clock
        self._sleep, self._rng = sleep, rng or random.Random()
        self._transport = Transport(url, key, settings.connect_timeout, settings.read_timeout)
        self._requests = metrics.counter("quant_fetch_requests_total")
        self._repeated = metrics.counter("quant_fetch_retries_total")
        self._failures = metrics.counter("quant_fetch_failures_total")
        self._duration = metrics.histogram("quant_fetch_duration_seconds")
        waited = metrics.counter("quant_fetch_wait_seconds_total").labels(name)
        for endpoint in ENDPOINTS:
            self._requests.labels(name, endpoint)
            self._repeated.labels(name, endpoint)
            self._duration.labels(name, endpoint)
            for reason in FETCH_REASONS:
                self._failures.labels(name, endpoint, reason)
        self._budget = Budget(
            settings.requests_per_minute, clock.monotonic, sleep=sleep, waited=waited.inc
        )
        self._stopped_until = -math.inf
        self._unknown: dict[str, tuple[float, str]] = {}

    def __repr__(self) -> str:
        return f"TickDB({self.name!r})"

    def samples(self) -> Iterable[Sample]:
        """What a scrape shows of this source; see :meth:`Metrics.add_reader`."""
        yield "quant_source_key_expiry_timestamp_seconds", (self.name,), self.key_expiry
        yield "quant_source_simulated", (self.name,), float(self.simulated)

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        """The newest bars of each symbol, oldest first; errors are in ``bad``, by symbol."""

        def read(data: Any, batch: Sequence[str]) -> Answer[list[Bar]]:
            return parse.read_latest(data, batch, interval, self._clock.now())

        problem = _interval_problem(interval)
        if problem:
            return Answer(bad=dict.fromkeys(symbols, problem))
        return await self._in_batches(LATEST, symbols, {"interval": interval}, read)

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        """The newest ticker of each symbol; errors are in ``bad``, by symbol."""

        def read(data: Any, batch: Sequence[str]) -> Answer[Ticker]:
            return parse.read_tickers(data, batch, self._clock.now())

        return await self._in_batches(TICKER, symbols, {}, read)

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """The newest `limit` bars (1000 at the most) of one symbol, oldest first.

        A request of which there may be hundreds: those for whole batches go first.
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
            # A server may cap a page silently below what was asked; all documented caps are
            # multiples of 100.
            cut = len(bars) % 100 == 0
            return [bar for bar in bars if low <= bar.start < high], cut

        return await all_pages(page, start, end, length) if start < end else []

    async def subscription(self) -> float:
        """When the key expires, Unix seconds; NaN when the source names no end."""
        data = await self._ask(SUBSCRIPTIONS, {}, urgent=True)
        with _Counted(self, SUBSCRIPTIONS, None):
            self.key_expiry = parse.read_expiry(data, self._clock.now(), self._key.redact)
        return self.key_expiry

    async def close(self) -> None:
        """End all connections and all waiting."""
        await self._budget.close()
        await self._transport.close()

    async def _series(
        self, symbol: str, interval: str, more: Mapping[str, str], *, urgent: bool
    ) -> list[Bar]:
        problem = _symbol_problem(symbol) or _interval_problem(interval)
        if problem:
            raise problem
        data = await self._ask(KLINE, {"symbol": symbol, "interval": interval, **more}, urgent)
        with _Counted(self, KLINE, symbol):
            return parse.read_series(data, symbol, interval, self._clock.now())

    async def _in_batches(
        self,
        endpoint: str,
        symbols: Sequence[str],
        parameters: Mapping[str, str],
        read: Callable[[Any, Sequence[str]], Answer[T]],
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
        read: Callable[[Any, Sequence[str]], Answer[T]],
    ) -> Answer[T]:
        try:
            data = await self._ask(
                endpoint, {"symbols": ",".join(batch), **parameters}, urgent=True
            )
        except SourceError as error:
            if error.code != 2002:
                return Answer(bad=dict.fromkeys(batch, error))
            if len(batch) == 1:
                self._unknown[batch[0]] = (self._clock.monotonic(), str(error))
                return Answer(bad={batch[0]: error})
            # One symbol that the source does not know fails its whole batch: find it by halving.
            middle = len(batch) // 2
            answer = await self._batch(endpoint, batch[:middle], parameters, read)
            answer.merge(await self._batch(endpoint, batch[middle:], parameters, read))
            return answer
        try:
            with _Counted(self, endpoint, None):
                answer = read(data, batch)
        except SourceError as error:
            return Answer(bad=dict.fromkeys(batch, error))
        for symbol, problem in answer.bad.items():
            self._count(endpoint, problem, symbol)
        return answer

    def _known_as_unknown(self, symbol: str) -> SourceError | None:
        since, text = self._unknown.get(symbol, (-math.inf, ""))
        if self._clock.monotonic() - since < _UNKNOWN_FOR_SECONDS:
            return SourceError("api", text, code=2002)
        self._unknown.pop(symbol, None)
        return None

    async def _ask(self, endpoint: str, parameters: Mapping[str, str], urgent: bool) -> Any:
        """The data of one good answer, after as many attempts as the settings allow."""
        for attempt in range(1 + self._retries):
            try:
                async with self._budget.place(urgent=urgent):
                    if self._clock.now() < self._stopped_until:
                        raise self._stopped()
                    if attempt:
                        self._repeated.labels(self.name, endpoint).inc()
                    return await self._attempt(endpoint, parameters)
            except SourceError as error:
                last = attempt == self._retries or not error.retryable
                if last:
                    raise
                failure = error
            await self._sleep(self._pause(failure, attempt))
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, endpoint: str, parameters: Mapping[str, str]) -> Any:
        self._requests.labels(self.name, endpoint).inc()
        started = self._clock.monotonic()
        try:
            raw = await self._transport.get(endpoint, parameters)
            return read_envelope(
                raw.status, raw.headers, raw.body, self._clock.now(), self._key.redact
            )
        except SourceError as error:
            self._count(endpoint, error)
            self._heed(error)
            raise
        finally:
            self._duration.labels(self.name, endpoint).observe(self._clock.monotonic() - started)

    def _heed(self, error: SourceError) -> None:
        """What one answer says of the source as a whole: everybody waits, or everybody stops."""
        if error.reason == "rate_limit" and error.retry_after:
            self._budget.hold_until(self._clock.monotonic() + error.retry_after)
        elif error.reason == "quota":
            self._stopped_until = self._clock.now() + (error.retry_after or 0.0)
            _log.error(
                "%s: the quota is used up; nothing is asked before %s",
                self.name,
                iso(self._stopped_until),
                extra={"event": "source_stopped", "source": self.name},
            )
            self._budget.refuse_waiting(self._stopped)

    def _stopped(self) -> SourceError:
        left = max(0.0, self._stopped_until - self._clock.now())
        until = iso(self._stopped_until)
        return SourceError(
            "quota", f"the quota is used up; asked again after {until}", retry_after=left
        )

    def _pause(self, error: SourceError, attempt: int) -> float:
        # Full jitter, so that callers that failed together do not come back together:
        # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        backoff = self._rng.uniform(0, min(_BACKOFF_CAP_SECONDS, _BACKOFF_SECONDS * 2**attempt))
        if error.reason == "rate_limit":
            return backoff  # the budget holds everybody back for as long as the answer asked
        return (error.retry_after or 0.0) + backoff

    def _count(self, endpoint: str, error: SourceError, symbol: str | None = None) -> None:
        self._failures.labels(self.name, endpoint, error.reason).inc()
        about = {"symbol": symbol} if symbol else {}
        _log.warning(
            "%s %s: %s",
            self.name,
            endpoint,
            error,
            extra={
                "event": "fetch_failed",
                "source": self.name,
                "endpoint": endpoint,
                "reason": error.reason,
                **about,
            },
        )


class _Counted:
    """Counts and names a payload that cannot be used, and lets the error go on."""

    def __init__(self, source: TickDB, endpoint: str, symbol: str | None) -> None:
        self._source, self._endpoint, self._symbol = source, endpoint, symbol

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SourceError):
            self._source._count(self._endpoint, error, self._symbol)


def _symbol_problem(symbol: str) -> SourceError | None:
    if isinstance(symbol, str) and _SYMBOL.fullmatch(symbol):
        return None
    return SourceError("api", f"{str(symbol)[:40]!r} is no symbol; write AAPL.US, 700.HK, EURUSD")


def _interval_problem(interval: str) -> SourceError | None:
    if interval in INTERVAL_SECONDS:
        return None
    return SourceError(
        "api", f"{str(interval)[:20]!r} is no interval; write {', '.join(INTERVAL_SECONDS)}"
    )
