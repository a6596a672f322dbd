"""What a source is, and what comes out of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bar:
    """One OHLCV candle. ``start`` is Unix seconds UTC; prices in the symbol's currency."""

    symbol: str
    start: float
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Ticker:
    """The newest trade and the best quotes of a symbol; ``at`` is Unix seconds UTC."""

    symbol: str
    last: float
    bid: float | None
    ask: float | None
    at: float


class SourceError(Exception):
    """A source could not give what was asked. ``reason`` is one of metrics.FETCH_REASONS.

    ``retryable``: the same question may be answered later; ``retry_after``: seconds, if it said.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason, self.retryable, self.retry_after = reason, retryable, retry_after


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What came for each symbol, and why nothing came for the others."""

    good: dict[str, T] = field(default_factory=dict)
    bad: dict[str, SourceError] = field(default_factory=dict)


class Source(Protocol):
    """A market-data source. Every method paces itself and may raise :class:`SourceError`."""

    name: str
    simulated: bool
    key_expiry: float

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        """The newest bars of each symbol, ascending; the last one may still be forming."""

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """The newest `limit` bars of one symbol, ascending; the last one may still be forming."""

    async def history(self, symbol: str, interval: str, start: float, end: float) -> list[Bar]:
        """All bars that start in [start, end), Unix seconds, ascending, each once."""

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        """Last price, bid and ask of each symbol."""

    async def subscription(self) -> float:
        """When the key expires, Unix seconds; NaN when it does not."""

    async def close(self) -> None:
        """End all connections."""
