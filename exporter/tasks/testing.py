"""Run a task of your own in a unit test: made-up market data, no exporter.

    from exporter.tasks.testing import FakeMarket
    from my_signals import above_average

    def test_above_average() -> None:
        market = FakeMarket()
        market.add_bars("NVDA.US", "1d", closes=[100, 101, 103], start=date(2026, 11, 24))
        assert above_average(market.blocking_context(params={"days": 2})) == ["NVDA.US"]

The contexts are the real ones: they check arguments and leave out the forming bar as in the
exporter.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from exporter.calendars.bars import INTERVAL_SECONDS, Calendar
from exporter.calendars.loader import Calendars
from exporter.custom_metrics.own_value import OwnValue
from exporter.sources.base import Answer, Bar, SourceError, Ticker
from exporter.state.ledger import Fill
from exporter.strategies.parse_fills import parse_fill
from exporter.tasks.arguments import Moment, known_interval, unix_seconds
from exporter.tasks.base_context import About
from exporter.tasks.blocking_context import BlockingContext
from exporter.tasks.context import Context
from exporter.tasks.errors import Permanent
from exporter.tasks.fetch_relay import answer, read
from exporter.util.clock import SystemClock

_T = TypeVar("_T")


class FakeMarket:
    """Bars and tickers that a test makes up, and the contexts that show them to a task."""

    def __init__(self) -> None:
        self._bars: dict[tuple[str, str], list[Bar]] = {}
        self._tickers: dict[str, Ticker] = {}
        self._errors: dict[str, SourceError] = {}
        self._newest = 0.0
        self.fills: list[Fill] = []
        """What the task passed to ``fill``."""
        self.equities: list[Decimal] = []
        """What it passed to ``equity``."""
        self.messages: list[tuple[str | None, str]] = []
        """Title and text of what the task sent by ``notify``."""
        self.metrics: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        """What the task set by ``gauge`` and ``counter``, by name and sorted labels."""

    def add_bars(
        self,
        symbol: str,
        interval: str,
        closes: Sequence[float],
        *,
        start: Moment,
        volume: float = 1000.0,
    ) -> list[Bar]:
        """One bar after the other from `start` on, each opening at the close before it."""
        at, step = unix_seconds("start", start), INTERVAL_SECONDS[known_interval(interval)]
        made: list[Bar] = []
        for n, close in enumerate(closes):
            opened = made[-1].close if made else close
            low, high = min(opened, close), max(opened, close)
            made.append(Bar(symbol, at + n * step, opened, high, low, close, volume))
        bars = self._bars.setdefault((symbol, interval), [])
        bars += made
        bars.sort(key=lambda bar: bar.start)
        self._newest = max(self._newest, at + len(made) * step)
        return made

    def add_ticker(
        self, symbol: str, last: float, bid: float | None = None, ask: float | None = None
    ) -> None:
        """The newest price of a symbol."""
        self._tickers[symbol] = Ticker(symbol, last, bid, ask, self._newest)

    def fail(self, symbol: str, error: SourceError) -> None:
        """Make every fetch of `symbol` raise `error`."""
        self._errors[symbol] = error

    def context(
        self,
        *,
        params: Mapping[str, Any] | None = None,
        now: Moment | None = None,
        exchange: str | None = None,
        slot: Moment | None = None,
        attempt: int = 1,
        task: str = "task_under_test",
    ) -> Context:
        """For a coroutine. `now` is the end of the newest bar unless given, so that all are closed;
        `exchange` is what ``exchange:`` of the task would say."""
        at = None if slot is None else unix_seconds("slot", slot)
        moment = self._newest if now is None else unix_seconds("now", now)
        about = About(task, "test-run", at, attempt, dict(params or {}), None, exchange)
        return Context(about, _FixedClock(moment), self)

    def blocking_context(self, **given: Any) -> BlockingContext:
        """The same for a plain function; takes what :meth:`context` takes."""
        behind = self.context(**given)

        def fetch(method: str, arguments: Mapping[str, Any]) -> Any:
            answered = _in_thread(lambda: asyncio.run(answer(behind, method, arguments)))
            return read(method, json.loads(json.dumps(answered)))

        return BlockingContext(behind._about, behind.clock, fetch)

    # --- what a context asks for

    name = "fake"
    simulated = True
    has_tickers = True
    key_expiry = float("nan")

    @property
    def parts(self) -> Any:
        """There is no exporter behind a test."""
        raise Permanent("only the built-in tasks of a running exporter have this")

    def source(self, name: str | None) -> FakeMarket:
        """Every source is this market."""
        return self

    def exchanges(self, source: str | None) -> Mapping[str, str]:
        """There are no feeds here; ``exchange`` of the context says which exchange it is."""
        return {}

    async def notify(
        self, task: str, text: str, title: str | None, channels: Sequence[str] | None
    ) -> bool:
        """Remember it in :attr:`messages`."""
        self.messages.append((title, text))
        return True

    async def fill(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> bool:
        """Remember it in :attr:`fills`; False when one of the same id is there. Raises
        :class:`Permanent` for what the exporter would not keep."""
        try:
            fill = parse_fill(said, ZoneInfo("UTC"), 0.0)
        except ValueError as error:
            raise Permanent(f"this fill cannot be kept: {error}") from error
        if any(known.id == fill.id for known in self.fills):
            return False
        self.fills.append(fill)
        return True

    async def equity(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> float:
        """Remember it in :attr:`equities`; no drawdown is known here."""
        self.equities.append(Decimal(str(said["equity"])))
        return 0.0

    def set_metric(
        self, name: str, value: float | None, labels: Mapping[str, object], *, add: bool
    ) -> str | None:
        """Remember it in :attr:`metrics`. Raises :class:`ValueError` where the exporter would log
        that it refuses it."""
        one = OwnValue.of(name, value, labels, kind="counter" if add else "gauge", add=add)
        key = (one.name, one.labels)
        if one.value is None:
            self.metrics.pop(key, None)
        else:
            self.metrics[key] = one.value + (self.metrics.get(key, 0.0) if add else 0.0)
        return None

    def calendar(self, exchange: str) -> Calendar:
        """The exchange's real calendar."""
        return _calendar(exchange)

    async def latest(self, symbols: Sequence[str], interval: str) -> Answer[list[Bar]]:
        """All bars that were added."""
        return self._answered(
            {symbol: self._bars.get((symbol, interval), []) for symbol in symbols}
        )

    async def recent(self, symbol: str, interval: str, limit: int) -> list[Bar]:
        """The newest `limit` bars that were added."""
        return self._one(symbol, interval)[-limit:]

    async def history(self, symbol: str, interval: str, start: float, end: float) -> list[Bar]:
        """Those that start in [start, end)."""
        return [bar for bar in self._one(symbol, interval) if start <= bar.start < end]

    async def tickers(self, symbols: Sequence[str]) -> Answer[Ticker]:
        """The tickers that were added."""
        return self._answered({symbol: self._tickers.get(symbol) for symbol in symbols})

    async def subscription(self) -> float:
        """No key, no expiry."""
        return float("nan")

    async def close(self) -> None:
        """Nothing to close."""

    def _one(self, symbol: str, interval: str) -> list[Bar]:
        if symbol in self._errors:
            raise self._errors[symbol]
        return list(self._bars.get((symbol, interval), []))

    def _answered(self, found: Mapping[str, _T | None]) -> Answer[_T]:
        made: Answer[_T] = Answer()
        for symbol, value in found.items():
            if symbol in self._errors:
                made.bad[symbol] = self._errors[symbol]
            elif value:
                made.good[symbol] = value
            else:
                made.bad[symbol] = SourceError("api", f"{symbol}: the test added nothing for it")
        return made


class _FixedClock(SystemClock):
    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now


@lru_cache(maxsize=64)
def _calendar(exchange: str) -> Calendar:
    with tempfile.TemporaryDirectory() as folder:
        calendars = Calendars(Path(folder), {}, SystemClock())
        _in_thread(lambda: asyncio.run(calendars.load([exchange])))
        return calendars.get(exchange)


def _in_thread(work: Any) -> Any:
    """A test may itself run on an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()
