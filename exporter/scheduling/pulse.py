"""A look at the clock every few seconds: was it set, did the machine sleep, is the disk back?"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from exporter.util.clock import Clock

log = logging.getLogger(__name__)

PULSE_SECONDS = 5.0
JUMP_SECONDS = 2.0
"""A clock that is off by less was not set."""


class PulseState(Protocol):
    """What is used of :class:`exporter.state.State`."""

    @property
    def durable(self) -> bool: ...
    async def probe(self) -> Any: ...


class Pulse:
    """By the monotonic clock, which nobody sets."""

    def __init__(
        self,
        state: PulseState,
        clock: Clock,
        after_beat: Callable[[float], Awaitable[None]],
        after_jump: Callable[[bool], Awaitable[None]],
    ) -> None:
        """`after_beat` gets the monotonic time; `after_jump` is called when the clock was set
        (True), or state is durable again."""
        self._state, self._clock = state, clock
        self._after_beat, self._after_jump = after_beat, after_jump

    async def beat_for_ever(self) -> None:
        """Until it is cancelled."""
        wall, steady = self._clock.now(), self._clock.monotonic()
        durable = self._state.durable
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            now, passed = self._clock.now(), self._clock.monotonic() - steady
            jump = now - wall - passed
            wall, steady = now, steady + passed
            try:
                await self._state.probe()
                healed = self._state.durable and not durable
                durable = self._state.durable
                await self._after_beat(steady)
                await self._look_at(jump, healed)
            except Exception:  # one failed beat must not end the pulse
                log.exception("The scheduler's pulse failed", extra={"event": "pulse_failed"})

    async def _look_at(self, jump: float, healed: bool) -> None:
        was_set = abs(jump) > JUMP_SECONDS
        if was_set:
            log.warning(
                "The clock jumped by %.1f s (set, or the machine slept): checking for missed slots",
                jump,
                extra={"event": "clock_jump", "jump_seconds": round(jump, 3)},
            )
        if was_set or healed:
            await self._after_jump(was_set)
