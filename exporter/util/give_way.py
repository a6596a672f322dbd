"""Long work in a thread that shares Python's lock with the event loop, or on the loop itself."""

from __future__ import annotations

import asyncio
import time

WORK_SECONDS, REST_SECONDS = 0.003, 0.001
_LOOK_EVERY = 8
"""Calls: on the loop the work between two of them is shorter than it takes to ask for the time."""


class GiveWay:
    """Call it often during such work: after every few milliseconds of it, it sleeps for one.

    Switching threads is not enough on a busy machine. The system stops a thread that never sleeps
    whenever its share is used up, also while it holds the lock; until that thread gets a core again
    the event loop waits. A thread that sleeps often is hardly ever stopped there.
    """

    def __init__(self) -> None:
        self._since = time.thread_time()

    def __call__(self) -> None:
        """Sleep if it is time to; call it in a thread alone."""
        if time.thread_time() - self._since >= WORK_SECONDS:
            time.sleep(REST_SECONDS)
            self._since = time.thread_time()


class TakeTurns:
    """Await it often during long work on the event loop, several times in a millisecond: after
    every few milliseconds of it, everything else there has its turn."""

    def __init__(self) -> None:
        self._since, self._calls = time.thread_time(), 0

    async def __call__(self) -> None:
        """Let others run if it is time to."""
        self._calls += 1
        if self._calls % _LOOK_EVERY == 0 and time.thread_time() - self._since >= WORK_SECONDS:
            await asyncio.sleep(0)
            self._since = time.thread_time()
