"""One request to TickDB: paced, retried while that may help, counted, and its limits applied.

Retries, pacing and the stop after a used-up quota happen only here; callers see the data of a good
answer or one :class:`SourceError`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from exporter.config import SourceSettings
from exporter.metrics import FETCH_REASONS, Metrics
from exporter.sources.api_key import Key
from exporter.sources.base import SourceError
from exporter.sources.envelope import RATE_PAUSE_SECONDS, read_envelope
from exporter.sources.rate_limiter import Budget
from exporter.sources.transport import Transport
from exporter.util.backoff import backoff_cap, backoff_pause
from exporter.util.clock import Clock, iso
from exporter.util.proxy import proxy_for

_BACKOFF_SECONDS, _BACKOFF_CAP_SECONDS = 1.0, 30.0
_LARGE_BYTES = 100_000
"""From this size on an answer is read in a thread."""
_NAMED = 5
"""Symbols of one answer that are named in the log, each on its own line."""
_log = logging.getLogger(__name__)


class Fetcher:
    """Sends the requests of one source. `sleep` and `rng` are passed in for tests."""

    def __init__(
        self,
        name: str,
        settings: SourceSettings,
        key: Key,
        metrics: Metrics,
        clock: Clock,
        *,
        url: str,
        endpoints: Iterable[str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._retries = settings.retries
        self._key, self._clock = key, clock
        self._sleep, self._rng = sleep, rng or random.Random()
        self._transport = Transport(
            url, key, settings.connect_timeout, settings.read_timeout,
            proxy_for(url, settings.proxy, os.environ),
        )  # fmt: skip
        self._requests = metrics.counter("quant_fetch_requests_total")
        self._repeated = metrics.counter("quant_fetch_retries_total")
        self._failures = metrics.counter("quant_fetch_failures_total")
        self._bad_symbols = metrics.counter("quant_fetch_bad_symbols_total")
        self._duration = metrics.histogram("quant_fetch_duration_seconds")
        waited = metrics.counter("quant_fetch_wait_seconds_total").labels(name)
        for endpoint in endpoints:
            self._requests.labels(name, endpoint)
            self._repeated.labels(name, endpoint)
            self._duration.labels(name, endpoint)
            for reason in FETCH_REASONS:
                self._failures.labels(name, endpoint, reason)
                self._bad_symbols.labels(name, endpoint, reason)
        self._budget = Budget(
            settings.requests_per_minute, clock.monotonic, sleep=sleep, waited=waited.inc
        )
        self._large = asyncio.Lock()
        self._stopped_until = -math.inf
        self._refused_at = math.inf
        """When the newest rate limit was hit that no good answer followed."""

    async def close(self) -> None:
        """End all connections and all waiting."""
        await self._budget.close()
        await self._transport.close()

    @contextmanager
    def counted(self, endpoint: str, symbol: str | None = None) -> Iterator[None]:
        """Count and log a payload that cannot be used, and re-raise the error."""
        try:
            yield
        except SourceError as error:
            self.count(endpoint, error, symbol)
            raise

    async def fetch(self, endpoint: str, parameters: Mapping[str, str], *, urgent: bool) -> Any:
        """The data of one good answer, after as many attempts as the settings allow."""
        for attempt in range(1 + self._retries):
            try:
                async with self._budget.place(urgent=urgent):
                    if self._clock.monotonic() < self._stopped_until:
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
            arguments = raw.status, raw.headers, raw.body, self._clock.now(), self._key.redact
            if len(raw.body) > _LARGE_BYTES:  # off the loop, one at a time: it is ten times as
                async with self._large:  # large in memory
                    data = await asyncio.to_thread(read_envelope, *arguments)
            else:
                data = read_envelope(*arguments)
        except SourceError as error:
            self.count(endpoint, error)
            self._apply_server_limits(error, started)
            raise
        else:
            self._refused_at = math.inf
            return data
        finally:
            self._duration.labels(self.name, endpoint).observe(self._clock.monotonic() - started)

    def _apply_server_limits(self, error: SourceError, started: float) -> None:
        """Apply what one answer says about the whole source: all requests wait, or all stop."""
        if error.reason == "rate_limit" and error.retry_after:
            again = self._refused_at < started  # we waited as asked, and that was not enough
            self._refused_at = now = self._clock.monotonic()
            pause = max(error.retry_after, RATE_PAUSE_SECONDS) if again else error.retry_after
            self._budget.hold_until(now + pause)
        elif error.reason == "quota":
            # By the clock that nobody sets: a wall clock set back would stop us for hours more.
            self._stopped_until = self._clock.monotonic() + (error.retry_after or 0.0)
            _log.error(
                "%s: the quota is used up; no requests before %s",
                self.name,
                iso(self._clock.now() + (error.retry_after or 0.0)),
                extra={"event": "source_stopped", "source": self.name},
            )
            self._budget.refuse_waiting(self._stopped)

    def _stopped(self) -> SourceError:
        left = max(0.0, self._stopped_until - self._clock.monotonic())
        until = iso(self._clock.now() + left)
        return SourceError(
            "quota", f"the quota is used up; next request after {until}", retry_after=left
        )

    def _pause(self, error: SourceError, attempt: int) -> float:
        cap = backoff_cap(_BACKOFF_SECONDS, attempt, _BACKOFF_CAP_SECONDS)
        # The budget holds everybody back for as long as a rate limit asks.
        asked = None if error.reason == "rate_limit" else error.retry_after
        return backoff_pause(cap, self._rng, asked)

    def count(self, endpoint: str, error: SourceError, symbol: str | None = None) -> None:
        """Count a request that failed, and name it in the log."""
        self._failures.labels(self.name, endpoint, error.reason).inc()
        self._log(endpoint, error, symbol)

    def count_bad(self, endpoint: str, bad: Mapping[str, SourceError], *, failed: bool) -> None:
        """Count the symbols of one answer that cannot be used. A request has one outcome: it
        `failed` when none of its symbols can be used."""
        for place, (symbol, error) in enumerate(bad.items()):
            self._bad_symbols.labels(self.name, endpoint, error.reason).inc()
            if failed and not place:
                self._failures.labels(self.name, endpoint, error.reason).inc()
            if place < _NAMED:
                self._log(endpoint, error, symbol)
        if len(bad) > _NAMED:
            _log.warning(
                "%s %s: %d more symbols of this answer cannot be used",
                self.name, endpoint, len(bad) - _NAMED,
                extra={"event": "fetch_failed", "source": self.name, "endpoint": endpoint},
            )  # fmt: skip

    def _log(self, endpoint: str, error: SourceError, symbol: str | None) -> None:
        about = {"symbol": symbol} if symbol else {}
        _log.warning(
            "%s %s: %s", self.name, endpoint, error,
            extra={"event": "fetch_failed", "source": self.name, "endpoint": endpoint,
                   "reason": error.reason, **about},
        )  # fmt: skip
