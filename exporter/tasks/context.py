"""What a coroutine with one parameter gets: the methods of
:class:`~exporter.tasks.blocking_context.BlockingContext`, to be awaited."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from exporter.sources.base import Answer, Bar, Ticker
from exporter.tasks.arguments import (
    Moment,
    Number,
    channel_list,
    equity_arguments,
    fill_arguments,
    known_interval,
    message_text,
    one_symbol,
    symbol_list,
    unix_seconds,
)
from exporter.tasks.base_context import About, BaseContext, Services
from exporter.tasks.errors import NoData
from exporter.util.clock import Clock

if TYPE_CHECKING:
    from exporter.calendars.bars import Calendar


class Context(BaseContext):
    """For coroutines. Every fetch may raise :class:`~exporter.tasks.SourceError`, which ends the
    run with it."""

    def __init__(self, about: About, clock: Clock, services: Services) -> None:
        super().__init__(about, clock)
        self._services = services

    def calendar(self, exchange: str) -> Calendar:
        """Sessions and bars of an exchange that a task or feed of the config names."""
        return self._services.calendar(exchange)

    def latest(
        self,
        symbols: Sequence[str],
        interval: str,
        *,
        source: str | None = None,
        partial: bool = False,
        forming: bool = False,
    ) -> Coroutine[Any, Any, dict[str, list[Bar]]]:
        """The newest closed bars of each symbol, ascending. Await it.

        With `forming` the last bar may be one that is not closed yet. Raises the source's error
        when a symbol has no bar, and :class:`~exporter.tasks.NoData` when it has no closed one,
        unless `partial` asks for whatever there is.
        """
        # Checked now and not when it is awaited: only now is the caller's line known.
        names, interval = symbol_list(symbols), known_interval(interval)
        return self._latest(names, interval, source=source, partial=partial, forming=forming)

    def history(
        self,
        symbol: str,
        interval: str,
        start: Moment,
        end: Moment,
        *,
        source: str | None = None,
        forming: bool = False,
    ) -> Coroutine[Any, Any, list[Bar]]:
        """All closed bars that start in [start, end), ascending. Await it.

        `start` and `end` are datetimes with a zone, dates (00:00 UTC of that day), or Unix seconds.
        With `forming` the last bar may be one that is not closed yet.
        """
        first, last = unix_seconds("start", start), unix_seconds("end", end)
        symbol, interval = one_symbol(symbol), known_interval(interval)
        return self._history(symbol, interval, first, last, source=source, forming=forming)

    def tickers(
        self, symbols: Sequence[str], *, source: str | None = None, partial: bool = False
    ) -> Coroutine[Any, Any, dict[str, Ticker]]:
        """Last price, bid and ask of each symbol; raises as :meth:`latest` does. Await it."""
        return self._tickers(symbol_list(symbols), source, partial)

    def notify(
        self, text: str, *, title: str | None = None, to: str | Sequence[str] | None = None
    ) -> Coroutine[Any, Any, bool]:
        """Send a message to the channels `to` of `messages:` in exporter.yml, or to those of the
        task's ``report_to``, or to the only one. Await it.

        It is kept until it is sent, which takes seconds, and a channel that is down is tried
        again: the task does not wait for that. `text` is plain text, without secrets (they are
        masked) and at most 8000 characters; `title` is the task's name unless given. False when it
        was dropped, because a channel has 100 waiting or the task sent 30 within the hour. Raises
        :class:`Permanent` for an unknown channel.
        """
        return self._services.notify(self.task, message_text(text), title, channel_list(to))

    def gauge(self, name: str, value: float | None, /, **labels: object) -> bool:
        """Set a metric of your own, such as ``gauge("positions", 3, strategy="momentum")``; it is
        exposed under this name and kept over restarts. Not to be awaited.

        Never raises: what does not fit (a reserved name, other labels than `metrics:` declares, too
        many series) is logged and shown on the page, and False is returned. NaN says that the value
        is not known now, None forgets the series.
        """
        return self._services.set_metric(name, value, labels, add=False) is None

    def counter(self, name: str, amount: float = 1, /, **labels: object) -> bool:
        """Count a metric of your own up, as :meth:`gauge` sets one; exposed as ``NAME_total``."""
        return self._services.set_metric(name, amount, labels, add=True) is None

    def fill(
        self,
        symbol: str,
        side: str,
        price: Number,
        quantity: Number | None = None,
        *,
        strategy: str | None = None,
        fee: Number | None = None,
        currency: str = "",
        order: str = "",
        id: str = "",
        at: Moment | None = None,
    ) -> Coroutine[Any, Any, bool]:
        """An execution: kept in the ledger, and one line in the log (event `trade_execution`).
        Await it.

        `side` is buy or sell, `price` that of one unit; a text or Decimal keeps all its digits. The
        strategy is the task's own unless given, `at` now. With the broker's `id` it may be said
        again: then it returns False and logs nothing. Raises :class:`Permanent` for what makes no
        sense, and another error while it cannot be kept: the attempt may be retried.
        """
        numbers = {"price": price, "quantity": quantity, "fee": fee}
        texts = {"currency": currency, "order": order, "id": id}
        said = fill_arguments(symbol, side, at, numbers, texts)
        return self._services.fill(self.task, strategy, said)

    def equity(
        self,
        equity: Number,
        *,
        flow: Number = 0,
        strategy: str | None = None,
        id: str = "",
        at: Moment | None = None,
    ) -> Coroutine[Any, Any, float]:
        """A point of the strategy's equity curve, after `flow` (a deposit is positive); returns the
        drawdown. The rest is as in :meth:`fill`. Await it."""
        return self._services.equity(self.task, strategy, equity_arguments(equity, flow, id, at))

    async def _latest(
        self,
        symbols: list[str],
        interval: str,
        *,
        source: str | None,
        partial: bool,
        forming: bool,
    ) -> dict[str, list[Bar]]:
        name = source or self._about.source
        found = _complete(await self._services.source(name).latest(symbols, interval), partial)
        if forming:
            return found
        exchanges = self._services.exchanges(name)
        closed = {
            symbol: self._closed(bars, interval, exchanges.get(symbol))
            for symbol, bars in found.items()
        }
        for symbol, bars in closed.items():
            if not bars and not partial:
                raise NoData(f"{symbol}: no {interval} bar is closed yet")
        return {symbol: bars for symbol, bars in closed.items() if bars}

    async def _history(
        self,
        symbol: str,
        interval: str,
        start: float,
        end: float,
        *,
        source: str | None,
        forming: bool,
    ) -> list[Bar]:
        name = source or self._about.source
        bars = list(await self._services.source(name).history(symbol, interval, start, end))
        if forming:
            return bars
        return self._closed(bars, interval, self._services.exchanges(name).get(symbol))

    async def _tickers(
        self, symbols: list[str], source: str | None, partial: bool
    ) -> dict[str, Ticker]:
        name = source or self._about.source
        return _complete(await self._services.source(name).tickers(symbols), partial)

    def _closed(self, bars: list[Bar], interval: str, exchange: str | None) -> list[Bar]:
        """Without those that have not ended. Where neither a feed nor the task says which exchange
        it is, a bar lasts its nominal interval, and a month 31 days."""
        from exporter.calendars.bars import INTERVAL_SECONDS

        exchange = exchange or self._about.exchange
        calendar = self._services.calendar(exchange) if exchange else None
        nominal = 31 * 86400.0 if interval == "1M" else INTERVAL_SECONDS[interval]
        now = self.clock.now()
        count = len(bars)
        while count:
            start = bars[count - 1].start
            if (calendar.bar_end(start, interval) if calendar else start + nominal) <= now:
                break
            count -= 1
        return bars[:count]


def _complete(answer: Answer[Any], partial: bool) -> dict[str, Any]:
    if answer.bad and not partial:
        raise next(iter(answer.bad.values()))
    return dict(answer.good)
