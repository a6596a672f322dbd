"""What one look at an account brought, and what every kind of account offers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from exporter.sources.base import SourceError

Said = Mapping[str, Any]
"""A point, a fill or a position, with the keys that the API has for it (docs/openapi.yaml)."""
T = TypeVar("T")


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
    left_out: Sequence[str] = ()
    """What is wrong with fills and positions that are not in it; the equity is."""


async def unless_it_fails(part: Awaitable[T], left_out: list[str]) -> T | None:
    """None, and a text in `left_out`, where the account does not answer this part."""
    try:
        return await part
    except SourceError as error:
        left_out.append(str(error))
        return None


def those_readable(
    given: Iterable[T], read: Callable[[T], Said], left_out: list[str]
) -> Iterator[Said]:
    """Each as `read` returns it; what is wrong with the others is added to `left_out`."""
    for one in given:
        try:
            yield read(one)
        except (SourceError, ValueError, ArithmeticError) as error:
            left_out.append(f"a fill is left out: {error}")


class EquityAccount(Protocol):
    """One account. It paces itself, and raises nothing but
    :class:`~exporter.sources.base.SourceError`."""

    name: str

    async def read(self, memory: Mapping[str, Any]) -> AccountReading:
        """What is new since the look that left `memory`; empty at the first."""

    def count(self, error: SourceError) -> None:
        """Count what cannot be used of its answer."""

    async def close(self) -> None:
        """Give connections and processes back."""
