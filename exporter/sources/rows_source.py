"""A source of rows: everything between a feed's question and the rows that some reader brings.

A new type of source is a :class:`RowReader`, which has one method; names of symbols and intervals,
batches, the request budget, retries, counts and the checks of each bar are here and the same for
all.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from exporter.config import INTERVAL_SECONDS
from exporter.config.source_settings import RowsSettings
from exporter.metrics import Metrics
from exporter.sources.base import Answer, Bar, SourceError, Ticker
from exporter.sources.parse import Flaw, malformed, read_series
from exporter.sources.retry import Received, Requests
from exporter.sources.row_layout import RowLayout
from exporter.util.clock import Clock
from exporter.util.nan import NAN

BARS, HISTORY = "bars", "history"
_NEWEST_ROWS = 10
"""So many of each symbol a request for the newest bars asks for."""
_MOST_ROWS = 1000
_LONGEST_PAUSE_SECONDS = 7 * 86400.0
"""For which an exchange makes no bars, roughly: holidays around a weekend."""


@dataclass(frozen=True, slots=True)
class Query:
    """What a reader is asked for. `symbols` and `interval` are the source's names; bars that start
    in [start, end), Unix seconds, and of these the newest `limit` where it can choose."""

    symbols: tuple[str, ...]
    interval: str
    start: float
    end: float
    limit: int


class RowReader(Protocol):
    """How one type of source is asked: the smallest thing that a new type has to provide."""

    batch: int
    """Symbols of one request."""

    async def rows(self, query: Query) -> tuple[Mapping[str, Any], bool]:
        """The rows of each symbol in any order, and whether there are so many that reading them
        should not hold up the loop.

        A symbol without bars has an empty list; one that is not in it counts as left out. Raises
        :class:`SourceError`. A row is what :class:`.row_layout.RowLayout` reads.
        """

    async def close(self) -> None:
        """End what is under way; a second call does nothing."""


class RowsSource:
    """A :class:`~exporter.sources.base.WatchedSource`. `sleep` and `rng` are passed in for
    tests."""

    simulated = False
    has_tickers = False
    key_expiry = NAN

    def __init__(
        self,
        name: str,
        settings: RowsSettings,
        reader: RowReader,
        metrics: Metrics,
        clock: Clock,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self._settings, self._reader, self._clock = settings, reader, clock
        self._layout = RowLayout.of(settings)
        self._negative = frozenset(settings.negative_prices)
        self._requests = Requests(
            name, settings, metrics, clock, endpoints=(BARS, HISTORY), sleep=sleep, rng=rng
        )
        self.out_since = self._requests.out_since

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        """The newest bars of each symbol, oldest first; errors are in ``bad``, by symbol."""
        wanted, size = [*dict.fromkeys(symbols)], self._reader.batch
        batches = [wanted[i : i + size] for i in range(0, len(wanted), size)]
        answer: Answer[list[Bar]] = Answer()
        for part in await asyncio.gather(*(self._batch(batch, interval) for batch in batches)):
            answer.merge(part)
        return answer

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """The newest `limit` bars (at most 1000) of one symbol, oldest first."""
        limit = max(1, min(limit, _MOST_ROWS))
        span = 2 * limit * INTERVAL_SECONDS.get(interval, 60.0) + _LONGEST_PAUSE_SECONDS
        now = self._clock.now()
        return (await self._series(symbol, interval, now - span, now, limit))[-limit:]

    async def history(self, symbol: str, interval: str, start: float, end: float) -> list[Bar]:
        """All bars that start in [start, end), oldest first, each once, as far as the source gives
        them in one answer."""
        if not start < end:
            return []
        # So many that those which end the range are not all that a reader of the newest finds.
        limit = int((self._clock.now() - start) / INTERVAL_SECONDS.get(interval, 60.0)) + 1
        bars = await self._series(symbol, interval, start, end, limit)
        return [bar for bar in bars if start <= bar.start < end]

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        """It has none."""
        error = SourceError("api", f"{self.name} has no tickers: a source of type tickdb has")
        return Answer(bad=dict.fromkeys(symbols, error))

    async def subscription(self) -> float:
        """Nobody knows of an end."""
        return NAN

    def clock_offset(self) -> float:
        """Nobody knows."""
        return NAN

    async def close(self) -> None:
        """End all waiting and what is under way."""
        await self._requests.close()
        await self._reader.close()

    async def _batch(self, batch: Sequence[str], interval: str) -> Answer[list[Bar]]:
        lookback = self._settings.lookback or 10 * INTERVAL_SECONDS.get(interval, 60.0)
        now = self._clock.now()

        def read(found: Mapping[str, Any], flaws: list[Flaw]) -> Answer[list[Bar]]:
            answer: Answer[list[Bar]] = Answer()
            for symbol in batch:
                try:
                    answer.good[symbol] = self._bars(found, symbol, interval, flaws)
                except SourceError as error:
                    answer.bad[symbol] = error
            return answer

        try:
            query = self._query(batch, interval, now - lookback, now, _NEWEST_ROWS)
            return await self._requests.send(
                BARS, self._ask(BARS, query), read, what=(tuple(batch), interval), urgent=True
            )
        except SourceError as error:
            return Answer(bad=dict.fromkeys(batch, error))

    async def _series(
        self, symbol: str, interval: str, start: float, end: float, limit: int
    ) -> list[Bar]:
        def read(found: Mapping[str, Any], flaws: list[Flaw]) -> list[Bar]:
            return self._bars(found, symbol, interval, flaws)

        return await self._requests.send(
            HISTORY, self._ask(HISTORY, self._query((symbol,), interval, start, end, limit)), read,
            what=(symbol, interval), urgent=False, symbol=symbol,
        )  # fmt: skip

    def _query(
        self, symbols: Sequence[str], interval: str, start: float, end: float, limit: int
    ) -> Query:
        named = self._settings.intervals
        if interval not in (named or INTERVAL_SECONDS):
            known = ", ".join(named or INTERVAL_SECONDS)
            raise SourceError("api", f"{self.name} has no interval {interval}: it has {known}")
        theirs = tuple(self._settings.symbols.get(symbol, symbol) for symbol in symbols)
        names = {str(ours): name for ours, name in named.items()}
        return Query(theirs, names.get(interval, interval), start, end, limit)

    def _ask(
        self, endpoint: str, query: Query
    ) -> Callable[[contextlib.AsyncExitStack], Awaitable[Received]]:
        async def ask(held: contextlib.AsyncExitStack) -> Received:
            with self._requests.timed(endpoint):
                found, is_large = await self._reader.rows(query)
            if is_large:
                await held.enter_async_context(self._requests.one_large)
            return Received(found, is_large)

        return ask

    def _bars(
        self, found: Mapping[str, Any], symbol: str, interval: str, flaws: list[Flaw]
    ) -> list[Bar]:
        theirs = self._settings.symbols.get(symbol, symbol)
        if theirs not in found:
            raise SourceError("api", f"the answer leaves {symbol} out", retryable=True)
        rows = found[theirs]
        if not isinstance(rows, list):
            raise malformed(f"{symbol}: expected a list of bars")
        klines = [self._layout.kline(row, interval) for row in rows]
        return read_series(
            {"klines": klines}, symbol, interval, self._clock.now(),
            negative=self._negative, flaws=flaws, prices=self._layout.prices,
        )  # fmt: skip
