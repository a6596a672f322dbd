"""What a task gets when its function takes one argument.

Coroutines get a :class:`Context`, plain functions a :class:`BlockingContext`: the same methods, one
awaited and one waiting. Market data goes through the exporter in both, so that the request budget
of a source holds for all tasks together.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from exporter.sources.base import Answer, Bar, DataSource, Ticker
from exporter.tasks.arguments import (
    Moment,
    Number,
    channel_list,
    equity_arguments,
    fill_arguments,
    known_interval,
    message_text,
    metric_number,
    one_symbol,
    symbol_list,
    unix_seconds,
)
from exporter.tasks.errors import NoData
from exporter.util.clock import Clock

if TYPE_CHECKING:
    from exporter.calendars.bars import Calendar


class Services(Protocol):
    """What the exporter offers to tasks."""

    @property
    def parts(self) -> Any:
        """What built-in tasks alone need."""

    def source(self, name: str | None) -> DataSource:
        """The named source, or the only one. Raises :class:`~exporter.tasks.errors.Permanent`."""

    def calendar(self, exchange: str) -> Calendar:
        """The exchange's calendar. Raises :class:`~exporter.tasks.errors.Permanent` for one that
        no task or feed names."""

    def exchanges(self, source: str | None) -> Mapping[str, str]:
        """Symbol to exchange, as the feeds of that source say."""

    def set_metric(
        self, name: str, value: float | None, labels: Mapping[str, object], *, add: bool
    ) -> str | None:
        """Set a gauge, or count a counter up; why it was refused, None when it was not."""

    async def fill(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> bool:
        """Keep an execution and log it; False when it was kept before. Raises
        :class:`~exporter.tasks.errors.Permanent` for one that makes no sense."""

    async def equity(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> float:
        """Add a point to a strategy's curve; its drawdown. Raises as :meth:`fill`."""

    async def notify(
        self, task: str, text: str, title: str | None, channels: Sequence[str] | None
    ) -> bool:
        """Queue a message; False when some channel has too many. Raises
        :class:`~exporter.tasks.errors.Permanent` when it is not clear where to."""


@dataclass(frozen=True)
class About:
    """Which attempt this is. ``slot`` is Unix seconds, None for a run started by hand."""

    task: str
    run_id: str
    slot: float | None
    attempt: int
    params: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    exchange: str | None = None


def takes_context(function: Callable[..., object]) -> bool:
    """Whether it has a parameter that must or may be given by position."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in kinds for p in parameters)


class _BaseContext:
    task: str
    """The task's name in exporter.yml."""
    run_id: str
    slot: float | None
    """The moment for which this run was scheduled, Unix seconds; None when started by hand."""
    attempt: int
    """1 for the first attempt of the run, 2 for the first retry."""
    params: Mapping[str, Any]
    """The task's ``params``."""
    clock: Clock
    """``clock.now()`` is the time in Unix seconds."""
    log: logging.Logger
    """Lines that go to the exporter's log, with the task and the run."""

    def __init__(self, about: About, clock: Clock) -> None:
        self.task, self.run_id = about.task, about.run_id
        self.slot, self.attempt = about.slot, about.attempt
        self.params = about.params
        self.clock = clock
        self.log = logging.getLogger(f"task.{about.task}")
        self._about = about


class Context(_BaseContext):
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


class BlockingContext(_BaseContext):
    """For plain functions, in their own process: each call waits for the exporter's answer."""

    def __init__(
        self, about: About, clock: Clock, fetch: Callable[[str, Mapping[str, Any]], Any]
    ) -> None:
        super().__init__(about, clock)
        self._fetch = fetch

    def calendar(self, exchange: str) -> Calendar:
        """As :meth:`Context.calendar`."""
        found: Calendar = self._fetch("calendar", {"exchange": exchange})
        return found

    def latest(
        self,
        symbols: Sequence[str],
        interval: str,
        *,
        source: str | None = None,
        partial: bool = False,
        forming: bool = False,
    ) -> dict[str, list[Bar]]:
        """As :meth:`Context.latest`."""
        found: dict[str, list[Bar]] = self._fetch(
            "latest",
            {
                "symbols": symbol_list(symbols),
                "interval": known_interval(interval),
                "source": source,
                "partial": partial,
                "forming": forming,
            },
        )
        return found

    def history(
        self,
        symbol: str,
        interval: str,
        start: Moment,
        end: Moment,
        *,
        source: str | None = None,
        forming: bool = False,
    ) -> list[Bar]:
        """As :meth:`Context.history`."""
        found: list[Bar] = self._fetch(
            "history",
            {
                "symbol": one_symbol(symbol),
                "interval": known_interval(interval),
                "start": unix_seconds("start", start),
                "end": unix_seconds("end", end),
                "source": source,
                "forming": forming,
            },
        )
        return found

    def tickers(
        self, symbols: Sequence[str], *, source: str | None = None, partial: bool = False
    ) -> dict[str, Ticker]:
        """As :meth:`Context.tickers`."""
        found: dict[str, Ticker] = self._fetch(
            "tickers", {"symbols": symbol_list(symbols), "source": source, "partial": partial}
        )
        return found

    def notify(
        self, text: str, *, title: str | None = None, to: str | Sequence[str] | None = None
    ) -> bool:
        """As :meth:`Context.notify`."""
        arguments = {"text": message_text(text), "title": title, "to": channel_list(to)}
        return bool(self._fetch("notify", arguments))

    def gauge(self, name: str, value: float | None, /, **labels: object) -> bool:
        """As :meth:`Context.gauge`."""
        return self._set_metric(name, value, labels, add=False)

    def counter(self, name: str, amount: float = 1, /, **labels: object) -> bool:
        """As :meth:`Context.counter`."""
        return self._set_metric(name, amount, labels, add=True)

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
    ) -> bool:
        """As :meth:`Context.fill`."""
        numbers = {"price": price, "quantity": quantity, "fee": fee}
        texts = {"currency": currency, "order": order, "id": id}
        said = fill_arguments(symbol, side, at, numbers, texts)
        return bool(self._fetch("fill", {"strategy": strategy, "said": said}))

    def equity(
        self,
        equity: Number,
        *,
        flow: Number = 0,
        strategy: str | None = None,
        id: str = "",
        at: Moment | None = None,
    ) -> float:
        """As :meth:`Context.equity`."""
        said = equity_arguments(equity, flow, id, at)
        return float(self._fetch("equity", {"strategy": strategy, "said": said}))

    def _set_metric(
        self, name: str, value: float | None, labels: Mapping[str, object], *, add: bool
    ) -> bool:
        arguments = {
            "name": str(name),
            "value": metric_number(value),
            "labels": {label: str(text) for label, text in labels.items()},
            "add": add,
        }
        return bool(self._fetch("set_metric", arguments))
