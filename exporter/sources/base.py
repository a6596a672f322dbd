"""What every source of market data offers, and the one way in which it fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bar:
    """One OHLCV candle. ``start`` is Unix seconds; whether it is closed follows from its calendar.

    Prices are in the symbol's own currency, volume in units of the symbol.
    """

    symbol: str
    start: float
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, slots=True)
class Ticker:
    """The newest trade and, where the source knows them, the best bid and ask."""

    symbol: str
    last: float
    bid: float | None
    ask: float | None
    at: float
    """Unix seconds."""


class SourceError(Exception):
    """Data could not be fetched. ``reason`` is one of metrics.FETCH_REASONS.

    ``retryable`` means that the same request may succeed later, ``retry_after`` how many seconds
    later at the earliest where the source named a time, ``code`` its own number for the problem.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        retryable: bool = False,
        retry_after: float | None = None,
        code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.code = code

    def about(self, symbol: str) -> str:
        """The message for a place that names the symbol already."""
        return self.message.removeprefix(f"{symbol}: ")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a request for several symbols brought: every symbol asked for is in one of the two."""

    good: dict[str, T] = field(default_factory=dict)
    bad: dict[str, SourceError] = field(default_factory=dict)

    def merge(self, other: Answer[T]) -> None:
        """Add the results of another batch."""
        self.good.update(other.good)
        self.bad.update(other.bad)


class DataSource(Protocol):
    """Where bars come from: what feeds and tasks need of a source, whatever its type.

    It keeps its own request budget, retries what may help and counts each request, its outcome and
    each symbol and bar that cannot be used (:mod:`.retry` does all of that for every type). It
    raises nothing but :class:`SourceError`.
    """

    name: str
    simulated: bool
    has_tickers: bool
    """Whether :meth:`tickers` can have anything."""
    key_expiry: float
    """Unix seconds; NaN until :meth:`subscription` has answered."""

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        """The newest bars of each symbol, oldest first; the last one may still be forming.

        Never raises: whatever went wrong is in ``bad``, symbol by symbol.
        """

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """The newest `limit` bars of one symbol, as in :meth:`latest`; at most 1000."""

    async def history(self, symbol: str, interval: str, start: float, end: float) -> list[Bar]:
        """All bars whose start lies in [start, end), oldest first, each once."""

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        """The newest ticker of each symbol. Never raises, as :meth:`latest`."""

    async def subscription(self) -> float:
        """When the key expires, Unix seconds (NaN when the source does not say)."""

    async def close(self) -> None:
        """Give connections back. Requests under way fail; a second call does nothing."""


class WatchedSource(DataSource, Protocol):
    """A source that also says how it is."""

    def out_since(self) -> float:
        """Since when it has answered nothing, Unix seconds; NaN while it answers."""

    def clock_offset(self) -> float:
        """Seconds by which our clock is ahead of its; NaN while nobody knows."""
