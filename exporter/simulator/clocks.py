"""A clock at another time than now, for demonstrations and tests."""

from __future__ import annotations

from exporter.util.clock import Clock


class MovedClock:
    """Starts at `start` (Unix seconds) and runs `speed` times as fast as `clock`.

    Only the wall clock is moved: request budgets and pauses keep real seconds.
    """

    def __init__(self, clock: Clock, start: float, speed: float = 1.0) -> None:
        self._clock, self._start, self._speed = clock, start, speed
        self._began = clock.monotonic()

    def now(self) -> float:
        """The moved wall clock, Unix seconds."""
        return self._start + (self._clock.monotonic() - self._began) * self._speed

    def monotonic(self) -> float:
        """Real seconds."""
        return self._clock.monotonic()
