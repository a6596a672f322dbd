"""A clock that tests move."""

from __future__ import annotations


class ManualClock:
    """Stands still until it is moved. ``jump`` moves the wall clock alone, as a correction does."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self._wall = now
        self._monotonic = 1000.0

    def now(self) -> float:
        """Wall clock, Unix seconds."""
        return self._wall

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._wall += seconds
        self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall clock; no time passes."""
        self._wall += seconds

    def set(self, now: float) -> None:
        """Let time pass until `now`."""
        self.advance(now - self._wall)
