"""What one look at an account brought, and what every kind of account offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from exporter.sources.base import SourceError

Said = Mapping[str, Any]
"""A point, a fill or a position, with the keys that the API has for it (docs/openapi.yaml)."""


@dataclass(frozen=True)
class AccountReading:
    """Oldest first. `positions` None: it does not say."""

    equity: Sequence[Said] = ()
    fills: Sequence[Said] = ()
    positions: Sequence[Said] | None = None
    positions_at: float | None = None
    """As of when they are, Unix seconds; None: now."""
    memory: Mapping[str, Any] = field(default_factory=dict)
    """What the next look gets, kept with what this one brought."""


class EquityAccount(Protocol):
    """One account. It paces itself, and raises nothing but
    :class:`~exporter.sources.base.SourceError`."""

    name: str

    async def read(self, memory: Mapping[str, Any]) -> AccountReading:
        """What is new since the look that left `memory`; empty at the first."""

    def count(self, error: SourceError) -> None:
        """Count what it said and nobody can use."""

    async def close(self) -> None:
        """Give connections and processes back."""
