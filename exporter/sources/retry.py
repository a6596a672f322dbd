"""One request to a source: paced, retried while that may help, counted, and its limits applied.

Retries, pacing and the stop after a used-up quota happen only here, for every type of source;
callers see the data of a good answer or one :class:`SourceError`. How a request is sent is passed
in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from exporter.metrics import FETCH_REASONS, Metrics
from exporter.sources.base import Answer, SourceError
from exporter.sources.outage import Outage
from exporter.sources.parse import Flaw
from exporter.sources.rate_limiter import RATE_PAUSE_SECONDS, Budget
from exporter.util.backoff import backoff_cap, backoff_pause
from exporter.util.clock import Clock, iso

_BACKOFF_SECONDS, _BACKOFF_CAP_SECONDS = 1.0, 30.0
_NAMED = 5
"""Symbols of one answer that are named in the log, each on its own line."""
_log = logging.getLogger(__name__)

T = TypeVar("T")
Read = Callable[[Any, list[Flaw]], T]
"""From an answer's data to what it means; bars that are left out are added to the list."""


@dataclass(frozen=True, slots=True)
class Received:
    """The data of one good answer. A large one is read in a thread, one at a time."""

    data: Any
    is_large: bool = False


Ask = Callable[[contextlib.AsyncExitStack], Awaitable[Received]]
"""Sends one request. Raises :class:`SourceError`. What is entered in the stack is held until the
answer is read: :meth:`Requests.one_large` for a large one."""


class RequestLimits(Protocol):
    """What is needed of a source's settings."""

    @property
    def retries(self) -> int: ...
    @property
    def requests_per_minute(self) -> int: ...


class Requests:
    """Sends the requests of one source. `sleep` and `rng` are passed in for tests."""

    def __init__(
        self,
        name: str,
        settings: RequestLimits,
        metrics: Metrics,
        clock: Clock,
        *,
        endpoints: Iterable[str],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._retries = settings.retries
        self._clock = clock
        self._sleep, self._rng = sleep, rng or random.Random()
        self._requests = metrics.counter("quant_fetch_requests_total")
        self._repeated = metrics.counter("quant_fetch_retries_total")
        self._failures = metrics.counter("quant_fetch_failures_total")
        self._bad_symbols = metrics.counter("quant_fetch_bad_symbols_total")
        self._bad_bars = metrics.counter("quant_fetch_bad_bars_total")
        self._duration = metrics.histogram("quant_fetch_duration_seconds")
        waited = metrics.counter("quant_fetch_wait_seconds_total").labels(name)
        for endpoint in endpoints:
            self._requests.labels(name, endpoint)
            self._repeated.labels(name, endpoint)
            self._duration.labels(name, endpoint)
            for reason in FETCH_REASONS:
                self._failures.labels(name, endpoint, reason)
                self._bad_symbols.labels(name, endpoint, reason)
                if reason in ("malformed", "wrong_time"):
                    self._bad_bars.labels(name, endpoint, reason)
        self._budget = Budget(
            settings.requests_per_minute, clock.monotonic, sleep=sleep, waited=waited.inc
        )
        self.one_large = asyncio.Lock()
        """Large answers are dealt with one at a time."""
        self._outage = Outage()
        self._stopped_until = -math.inf
        self._refused_at = math.inf
        """When the newest rate limit was hit that no good answer followed."""

    async def close(self) -> None:
        """End all waiting."""
        await self._budget.close()

    def out_since(self) -> float:
        """Since when nothing has been answered, Unix seconds; NaN while requests are answered."""
        return self._clock.now() - (self._clock.monotonic() - self._outage.since)

    @contextlib.contextmanager
    def timed(self, endpoint: str) -> Iterator[None]:
        """The block is one attempt, from sending to the last byte."""
        started = self._clock.monotonic()
        try:
            yield
        finally:
            self._duration.labels(self.name, endpoint).observe(self._clock.monotonic() - started)

    async def send(
        self,
        endpoint: str,
        ask: Ask,
        read: Read[T],
        *,
        what: Hashable,
        urgent: bool,
        symbol: str | None = None,
    ) -> T:
        """What `read` makes of one good answer, after as many attempts as the settings allow.

        What `read` raises is counted, with `symbol`, and not tried again. Requests for the same
        thing have the same `what`.
        """
        for attempt in range(1 + self._retries):
            try:
                async with self._budget.place(urgent=urgent):
                    if self._clock.monotonic() < self._stopped_until:
                        raise self._stopped()
                    if attempt:
                        self._repeated.labels(self.name, endpoint).inc()
                    return await self._attempt(endpoint, ask, read, (endpoint, what), symbol)
            except _UnusableError as unusable:
                failure = unusable.error
                break
            except SourceError as error:
                failure = error
                if attempt == self._retries or not error.retryable:
                    break
            await self._sleep(self._pause(failure, attempt))
        raise failure  # outside of the handlers, so that its `__context__` holds nothing

    async def _attempt(
        self, endpoint: str, ask: Ask, read: Read[T], request: Hashable, symbol: str | None
    ) -> T:
        flaws: list[Flaw] = []
        async with contextlib.AsyncExitStack() as held:
            started = self._clock.monotonic()
            self._requests.labels(self.name, endpoint).inc()
            try:
                received = await ask(held)
            except SourceError as error:
                self.count(endpoint, error)
                self._outage.failed(request, error, self._clock.monotonic())
                self._apply_server_limits(error, started)
                raise
            self._refused_at = math.inf
            try:
                value = await aside(received.is_large, read, received.data, flaws)
            except SourceError as error:
                self.count(endpoint, error, symbol)
                self._outage.failed(request, error, self._clock.monotonic())
                raise _UnusableError(error) from None
        self.count_flaws(endpoint, flaws)
        problem = self._count_parts(endpoint, value) if isinstance(value, Answer) else None
        if problem:
            self._outage.failed(request, problem, self._clock.monotonic())
        else:
            self._outage.answered(request, self._clock.monotonic())
        return value

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

    def count_unsolicited(self, endpoint: str, failure: SourceError | None) -> None:
        """Count an answer that came without a request, and whether it was of use."""
        self._requests.labels(self.name, endpoint).inc()
        if failure is not None:
            self._failures.labels(self.name, endpoint, failure.reason).inc()

    def count(self, endpoint: str, error: SourceError, symbol: str | None = None) -> None:
        """Count a request that failed, and name it in the log."""
        self._failures.labels(self.name, endpoint, error.reason).inc()
        self._log(endpoint, error, symbol)

    def _count_parts(self, endpoint: str, answer: Answer[Any]) -> SourceError | None:
        """Count the symbols of one answer that cannot be used. A request has one outcome: it
        failed, with the returned error, when none of its symbols can be used."""
        for place, (symbol, error) in enumerate(answer.bad.items()):
            self._bad_symbols.labels(self.name, endpoint, error.reason).inc()
            if place < _NAMED:
                self._log(endpoint, error, symbol)
        if len(answer.bad) > _NAMED:
            self._log_more(endpoint, len(answer.bad) - _NAMED, "symbols")
        # Wrong times do not mean that the source is down.
        wrong = [error for error in answer.bad.values() if error.reason != "wrong_time"]
        if answer.good or not wrong:
            return None
        first = next(iter(answer.bad.values()))
        self._failures.labels(self.name, endpoint, first.reason).inc()
        return first

    def count_flaws(self, endpoint: str, flaws: Sequence[Flaw]) -> None:
        """Count bars that were left out of what is used."""
        for _, error in flaws:
            self._bad_bars.labels(self.name, endpoint, error.reason).inc()
        for symbol, error in flaws[:_NAMED]:
            self._log(endpoint, error, symbol)
        if len(flaws) > _NAMED:
            self._log_more(endpoint, len(flaws) - _NAMED, "bars")

    def _log_more(self, endpoint: str, count: int, what: str) -> None:
        _log.warning(
            "%s %s: %d more %s of this answer cannot be used", self.name, endpoint, count, what,
            extra={"event": "fetch_failed", "source": self.name, "endpoint": endpoint},
        )  # fmt: skip

    def _log(self, endpoint: str, error: SourceError, symbol: str | None) -> None:
        about = {"symbol": symbol} if symbol else {}
        _log.warning(
            "%s %s: %s", self.name, endpoint, error,
            extra={"event": "fetch_failed", "source": self.name, "endpoint": endpoint,
                   "reason": error.reason, **about},
        )  # fmt: skip


class _UnusableError(Exception):
    """The answer was good, and what it holds cannot be used."""

    def __init__(self, error: SourceError) -> None:
        super().__init__(str(error))
        self.error = error


async def aside(is_large: bool, work: Callable[..., T], *arguments: Any) -> T:
    """Do the work here, or in a thread where the answer is large."""
    return await asyncio.to_thread(work, *arguments) if is_large else work(*arguments)
