"""Whether an attempt's processes use more than they may.

Measured, not enforced by the kernel, because it works for every user on every machine and counts
all processes of an attempt together. What a process uses between two looks is not prevented. For
memory the kernel does better where it may: :mod:`.memory_group`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping

from exporter.util.process_tree import ProcessInfo, descendants, fair_memory

LOOK_SECONDS = 0.2
_MOST_OF_A_CORE = 0.05
"""How much of its time a guardian may spend looking: a machine with many processes takes longer."""

WATCHED = ("cpu", "memory", "processes")
HARD = frozenset(("memory", "processes"))
"""Limits beyond which there is no time to tidy up."""


class Usage:
    """Looks every now and then. `limits` has any of ``cpu`` (seconds), ``memory`` (bytes) and
    ``processes``."""

    def __init__(self, limits: Mapping[str, float]) -> None:
        self._limits = limits
        self.look_at = time.monotonic() if limits else float("inf")
        """When to look next, on the monotonic clock."""

    def exceeded(self) -> tuple[str, float] | None:
        """The first limit that the processes below this one exceed, and what they use."""
        began = time.monotonic()
        below = descendants(os.getpid())
        found = next((each for each in self._used(below) if self._is_over(*each)), None)
        now = time.monotonic()
        self.look_at = now + max(LOOK_SECONDS, (now - began) / _MOST_OF_A_CORE)
        return found

    def _is_over(self, what: str, used: float) -> bool:
        return used > self._limits.get(what, float("inf"))

    def _used(self, below: list[ProcessInfo]) -> Iterator[tuple[str, float]]:
        yield "processes", float(len(below))
        memory = float(sum(each.memory for each in below))
        if self._is_over("memory", memory):
            memory = float(sum(fair_memory(each) for each in below))
        yield "memory", memory
        own = os.times()
        ended = own.children_user + own.children_system
        yield "cpu", ended + sum(each.cpu for each in below)
