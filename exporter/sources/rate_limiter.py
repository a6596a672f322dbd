"""The request budget of one source: kept by waiting before sending, never by running into it.

Two rules hold together. A token bucket lets a small burst go at once and then paces. A log of the
past minute holds the hard rule: a request occupies its place from before it is sent until 60 s
after its answer came, so however long it travelled, no sliding window of 60 s at the server can
ever count more than the limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from exporter.sources.base import SourceError

WINDOW_SECONDS = 60.0
RATE_PAUSE_SECONDS = 20.0
"""Pause after a rate limit that names no time: three of them outlast a limit per minute."""
_MOST_AT_ONCE = 32
"""Requests under way at the same time; more would queue in the server or the kernel instead."""
_URGENT_SHARE = 4
"""While both lanes wait, one grant of so many goes to the patient one, so that none starves."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    grant: asyncio.Future[None]
    since: float


class Budget:
    """Hands out the right to send one request, in order of arrival, urgent ones first.

    `monotonic` and `sleep` are the clock's; `waited` gets the seconds that each caller waited.
    """

    def __init__(
        self,
        per_minute: int,
        monotonic: Callable[[], float],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        waited: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        self._limit = per_minute
        self._rate = per_minute / WINDOW_SECONDS
        # A third: 500 symbols are ten requests, and those go at once even on the free plan of 30.
        self._burst = float(max(1, per_minute // 3))
        self._tokens = self._burst
        self._monotonic, self._sleep, self._waited = monotonic, sleep, waited
        self._filled_at = monotonic()
        self._not_before = self._filled_at
        self._under_way = 0
        self._ended: deque[float] = deque()
        self._lanes: tuple[deque[_Waiting], ...] = (deque(), deque())
        self._urgent_in_a_row = 0
        self._freed = asyncio.Event()
        self._pump_task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def place(self, *, urgent: bool) -> AsyncIterator[None]:
        """Wait for the right to send one request; the block is the request."""
        grant: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes[0 if urgent else 1].append(_Waiting(grant, self._monotonic()))
        if self._pump_task is None or self._pump_task.done():
            self._pump_task = asyncio.create_task(self._pump())
        try:
            await grant
        except asyncio.CancelledError:
            if grant.done() and not grant.cancelled() and not grant.exception():
                self._give_back(sent=False)  # granted just as the caller gave up
            raise
        try:
            yield
        finally:
            self._give_back(sent=True)

    def hold_until(self, monotonic: float) -> None:
        """Let nobody send before that moment, because the server asked for it."""
        self._not_before = max(self._not_before, monotonic)

    def refuse_waiting(self, error: Callable[[], SourceError]) -> None:
        """Fail everybody who waits, as when the quota is used up. Each gets its own error."""
        for lane in self._lanes:
            while lane:
                grant = lane.popleft().grant
                if not grant.done():
                    grant.set_exception(error())

    async def close(self) -> None:
        """End the waiting. Those who wait are cancelled."""
        for lane in self._lanes:
            while lane:
                lane.popleft().grant.cancel()
        if self._pump_task is not None:
            self._pump_task.cancel()
            await asyncio.gather(self._pump_task, return_exceptions=True)

    def _give_back(self, *, sent: bool) -> None:
        self._under_way -= 1
        if sent:
            self._ended.append(self._monotonic())
        else:
            self._tokens = min(self._burst, self._tokens + 1)
        self._freed.set()

    async def _pump(self) -> None:
        while any(self._lanes):
            delay = self._delay()
            if delay is None:
                self._freed.clear()
                await self._freed.wait()
            elif delay > 0:
                await self._sleep(delay)
            elif (next_one := self._next()) is not None:
                self._under_way += 1
                self._tokens -= 1
                self._waited(self._monotonic() - next_one.since)
                next_one.grant.set_result(None)

    def _delay(self) -> float | None:
        """Seconds until the next request may go; None when only an answer can make room."""
        now = self._monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        while self._ended and self._ended[0] + WINDOW_SECONDS <= now:
            self._ended.popleft()
        if self._under_way >= min(self._limit, _MOST_AT_ONCE):
            return None
        delay = self._not_before - now
        # One nanotoken of slack: adding up fractions may stop just short of a whole one.
        if self._tokens < 1 - 1e-9:
            delay = max(delay, (1 - self._tokens) / self._rate)
        if self._under_way + len(self._ended) >= self._limit:
            if not self._ended:
                return None
            delay = max(delay, self._ended[0] + WINDOW_SECONDS - now)
        return max(0.0, delay)

    def _next(self) -> _Waiting | None:
        urgent, patient = self._lanes
        for lane in self._lanes:
            while lane and lane[0].grant.done():  # the caller gave up meanwhile
                lane.popleft()
        if urgent and (not patient or self._urgent_in_a_row < _URGENT_SHARE - 1):
            self._urgent_in_a_row += 1
            return urgent.popleft()
        self._urgent_in_a_row = 0
        return patient.popleft() if patient else None
