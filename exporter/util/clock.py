"""Time, passed in. Inside the project every moment is Unix seconds (float) in UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

FUTURE_TOLERANCE_SECONDS = 300.0
"""How far ahead of our clock a timestamp that others send may lie: clocks differ."""


class Clock(Protocol):
    """What the parts need to know of time. Tests pass one that they control."""

    def now(self) -> float:
        """Wall clock, Unix seconds UTC. May jump."""

    def monotonic(self) -> float:
        """Seconds that never go back; on Linux they do not count while the machine sleeps."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def utc(timestamp: float) -> datetime:
    """Unix seconds as an aware datetime in UTC."""
    return datetime.fromtimestamp(timestamp, UTC)


def iso(timestamp: float) -> str:
    """Unix seconds as ``2026-11-24T14:30:00Z``, for logs and messages."""
    return utc(timestamp).strftime("%Y-%m-%dT%H:%M:%SZ")
