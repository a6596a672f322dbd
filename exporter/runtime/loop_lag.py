"""How long the event loop was blocked."""

from __future__ import annotations

import asyncio
from collections import deque

from prometheus_client import Gauge

_STEP = 0.05
_WINDOW = 60.0


class LoopWatch:
    """Sleeps briefly, again and again; oversleeping is the lag. Shows the last minute's worst."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._seen: deque[tuple[float, float]] = deque()
        gauge.set(0.0)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            before = loop.time()
            await asyncio.sleep(_STEP)
            now = loop.time()
            self.note(now, max(0.0, now - before - _STEP))

    def note(self, now: float, lag: float) -> None:
        """Add one observation; keeps a decreasing queue of maxima, so the window is cheap."""
        while self._seen and self._seen[-1][1] <= lag:
            self._seen.pop()
        self._seen.append((now, lag))
        while self._seen[0][0] < now - _WINDOW:
            self._seen.popleft()
        self._gauge.set(self._seen[0][1])
