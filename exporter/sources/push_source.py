"""``type: push``: bars that a program sends to ``POST /api/v1/feeds/NAME/bars``.

It is asked as any other source is, and answers with what was sent. Requests are counted when bars
come, under the endpoint ``push``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from exporter.config.source_settings import PushSettings
from exporter.metrics import Metrics
from exporter.sources.base import Answer, Bar, SourceError, Ticker
from exporter.sources.parse import Flaw, malformed, read_series
from exporter.sources.retry import Requests
from exporter.sources.row_layout import RowLayout
from exporter.util.clock import Clock
from exporter.util.nan import NAN, nan_to_none, none_to_nan

PUSH = "push"
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9.\-^=/]{0,31}")
_KEPT_BARS = 50
SAVED_BARS = 5
"""Of each symbol, over a restart."""


@dataclass
class Pushed:
    """What one push brought: bars by symbol, and what cannot be used, with its symbol."""

    good: dict[str, list[Bar]] = field(default_factory=dict)
    rejected: list[Flaw] = field(default_factory=list)


class PushSource:
    """A :class:`~exporter.sources.base.WatchedSource`."""

    simulated = has_tickers = False
    key_expiry = NAN

    def __init__(self, name: str, settings: PushSettings, metrics: Metrics, clock: Clock) -> None:
        self.name = name
        self._clock = clock
        self._layout = RowLayout.of(settings)
        self._ours = {theirs: ours for ours, theirs in settings.symbols.items()}
        self._negative = frozenset(settings.negative_prices)
        self._counts = Requests(name, settings, metrics, clock, endpoints=(PUSH,))
        self._bars: dict[tuple[str, str], dict[float, Bar]] = {}

    def read(self, rows: Sequence[Any], symbols: Sequence[str], interval: str) -> Pushed:
        """Check what was sent for a feed with those `symbols`; nothing is kept yet."""
        pushed = Pushed()
        by_symbol: dict[str, list[Any]] = {}
        for place, row in enumerate(rows):
            symbol = self._layout.symbol(row)
            symbol = self._ours.get(symbol, symbol) if isinstance(symbol, str) else symbol
            if symbol in symbols:
                by_symbol.setdefault(symbol, []).append(self._layout.kline(row, interval))
            elif isinstance(symbol, str) and _SYMBOL.fullmatch(symbol):
                text = f"{symbol!r} is not a symbol of this feed"
                pushed.rejected.append((symbol, malformed(text)))
            elif isinstance(symbol, str):  # it could be anything, even a secret
                text = f"the symbol of bar {place} is not one of this feed"
                pushed.rejected.append(("", malformed(text)))
            else:
                pushed.rejected.append(("", malformed(f"bar {place} has no symbol")))
        for symbol, klines in by_symbol.items():
            try:
                found = read_series(
                    {"klines": klines}, symbol, interval, self._clock.now(),
                    negative=self._negative, flaws=pushed.rejected, prices=self._layout.prices,
                )  # fmt: skip
            except SourceError as error:
                pushed.rejected.append((symbol, error))
                continue
            if found:
                pushed.good[symbol] = found
        self._count(pushed)
        return pushed

    def _count(self, pushed: Pushed) -> None:
        failed = pushed.rejected[0][1] if pushed.rejected and not pushed.good else None
        self._counts.count_unsolicited(PUSH, failed)
        self._counts.count_flaws(PUSH, pushed.rejected)

    def keep(self, pushed: Pushed, interval: str) -> None:
        """Answer with these bars, too, from now on."""
        for symbol, bars in pushed.good.items():
            self._add(interval, symbol, bars)

    def with_new(self, symbol: str, bars: Sequence[Bar], interval: str) -> list[Any]:
        """What is to be saved of a symbol once `bars` are added, for :meth:`restore`."""
        known = {**self._bars.get((interval, symbol), {}), **{bar.start: bar for bar in bars}}
        newest = [known[start] for start in sorted(known)[-SAVED_BARS:]]
        return [[nan_to_none(value) for value in astuple(bar)[1:]] for bar in newest]

    def restore(self, symbol: str, interval: str, saved: Any) -> None:
        """Take back what :meth:`with_new` gave, after a restart."""
        if isinstance(saved, list) and (interval, symbol) not in self._bars:
            bars = [Bar(symbol, *(none_to_nan(value) for value in row)) for row in saved]
            self._add(interval, symbol, bars)

    def _add(self, interval: str, symbol: str, bars: Sequence[Bar]) -> None:
        known = {**self._bars.get((interval, symbol), {}), **{bar.start: bar for bar in bars}}
        newest = sorted(known)[-_KEPT_BARS:]
        self._bars[interval, symbol] = {start: known[start] for start in newest}

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        """The newest bars that were sent, oldest first."""
        answer: Answer[list[Bar]] = Answer()
        for symbol in symbols:
            known = self._bars.get((interval, symbol))
            if known:
                answer.good[symbol] = [*known.values()]
            else:
                answer.bad[symbol] = SourceError("api", f"{symbol}: no bar has been pushed yet")
        return answer

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """The newest `limit` bars of one symbol that are kept."""
        return [*self._bars.get((interval, symbol), {}).values()][-limit:]

    async def history(self, symbol: str, interval: str, start: float, end: float) -> list[Bar]:
        """Of the bars that are kept, those that start in [start, end)."""
        known = self._bars.get((interval, symbol), {})
        return [bar for at, bar in known.items() if start <= at < end]

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        """It has none."""
        error = SourceError("api", f"{self.name} has no tickers")
        return Answer(bad=dict.fromkeys(symbols, error))

    async def subscription(self) -> float:
        """There is no key."""
        return NAN

    def out_since(self) -> float:
        """Nobody asks it for anything; what does not come is overdue."""
        return NAN

    def clock_offset(self) -> float:
        """Nobody knows."""
        return NAN

    async def close(self) -> None:
        """Nothing is open."""


def as_json(pushed: Pushed, old: int) -> Mapping[str, Any]:
    """The answer to a push: how many bars count, how many of them were not new, and what cannot be
    used, the first twenty by their text."""
    return {
        "ok": True,
        "accepted": sum(map(len, pushed.good.values())),
        "old": old,
        "rejected": len(pushed.rejected),
        "errors": [str(error) for _, error in pushed.rejected[:20]],
    }
