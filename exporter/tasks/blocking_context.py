"""What a plain function with one parameter gets.

It runs in a process of its own, and each call goes to the exporter, so that the request budget of a
source holds for all tasks together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from exporter.sources.base import Bar, Ticker
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
from exporter.tasks.base_context import About, BaseContext
from exporter.util.clock import Clock

if TYPE_CHECKING:
    from exporter.calendars.bars import Calendar


class BlockingContext(BaseContext):
    """For plain functions, in their own process: each call waits for the exporter's answer."""

    def __init__(
        self, about: About, clock: Clock, fetch: Callable[[str, Mapping[str, Any]], Any]
    ) -> None:
        super().__init__(about, clock)
        self._fetch = fetch

    def calendar(self, exchange: str) -> Calendar:
        """As :meth:`~exporter.tasks.context.Context.calendar`."""
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
        """As :meth:`~exporter.tasks.context.Context.latest`."""
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
        """As :meth:`~exporter.tasks.context.Context.history`."""
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
        """As :meth:`~exporter.tasks.context.Context.tickers`."""
        found: dict[str, Ticker] = self._fetch(
            "tickers", {"symbols": symbol_list(symbols), "source": source, "partial": partial}
        )
        return found

    def notify(
        self, text: str, *, title: str | None = None, to: str | Sequence[str] | None = None
    ) -> bool:
        """As :meth:`~exporter.tasks.context.Context.notify`."""
        arguments = {"text": message_text(text), "title": title, "to": channel_list(to)}
        return bool(self._fetch("notify", arguments))

    def gauge(self, name: str, value: float | None, /, **labels: object) -> bool:
        """As :meth:`~exporter.tasks.context.Context.gauge`."""
        return self._set_metric(name, value, labels, add=False)

    def counter(self, name: str, amount: float = 1, /, **labels: object) -> bool:
        """As :meth:`~exporter.tasks.context.Context.counter`."""
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
        """As :meth:`~exporter.tasks.context.Context.fill`."""
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
        """As :meth:`~exporter.tasks.context.Context.equity`."""
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
