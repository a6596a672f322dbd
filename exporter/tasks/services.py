"""What a running exporter offers to tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from exporter.calendars.loader import Calendar, Calendars
from exporter.custom_metrics.custom_metrics import CustomMetrics
from exporter.messages.message import ChannelMessage
from exporter.messages.outbox import Outbox
from exporter.sources.base import DataSource
from exporter.tasks.errors import Permanent
from exporter.tasks.trade_log import TradeLog


@dataclass(frozen=True)
class TaskServices:
    """The :class:`~exporter.tasks.base_context.Services` of the exporter itself."""

    sources: Mapping[str, DataSource]
    calendars: Calendars
    outbox: Outbox
    custom_metrics: CustomMetrics
    get_parts: Callable[[], Any]

    @property
    def parts(self) -> Any:
        """What built-in tasks alone need."""
        return self.get_parts()

    def source(self, name: str | None) -> DataSource:
        """The named source, or the only one. Raises :class:`Permanent`."""
        if name is None and len(self.sources) == 1:
            return next(iter(self.sources.values()))
        if name is None or name not in self.sources:
            known = ", ".join(self.sources) or "none is configured"
            raise Permanent(
                f"name one of the sources: {known}"
                if name is None
                else f"unknown source {name!r}; configured: {known}"
            )
        return self.sources[name]

    def calendar(self, exchange: str) -> Calendar:
        """The exchange's calendar. Raises :class:`Permanent` for one that nothing names."""
        try:
            return self.calendars.get(exchange)
        except KeyError as error:
            raise Permanent(
                f"no task or feed in exporter.yml names the exchange {exchange!r}; "
                f"loaded: {', '.join(self.calendars.names) or 'none'}"
            ) from error

    def exchanges(self, source: str | None) -> Mapping[str, str]:
        """Symbol to exchange, as the feeds of that source (None: of all) say."""
        return {
            symbol: feed.exchange
            for feed in self.parts.config.feeds.values()
            if source in (None, feed.source)
            for symbol in feed.symbols
        }

    def set_metric(
        self, name: str, value: float | None, labels: Mapping[str, object], *, add: bool
    ) -> str | None:
        """Set a gauge, or count a counter up; why it was refused, None when it was not."""
        kind: Literal["gauge", "counter"] = "counter" if add else "gauge"
        return self.custom_metrics.set(name, value, labels, kind=kind, add=add)

    async def fill(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> bool:
        """Keep an execution and log it; False when it was kept before."""
        return await TradeLog(self.parts).fill(task, strategy, said)

    async def equity(self, task: str, strategy: str | None, said: Mapping[str, Any]) -> float:
        """Add a point to a strategy's curve; its drawdown."""
        return await TradeLog(self.parts).equity(task, strategy, said)

    async def notify(
        self, task: str, text: str, title: str | None, channels: Sequence[str] | None
    ) -> bool:
        """Queue a message; False when some channel has too many. Raises :class:`Permanent` when no
        channel is named, or an unknown one."""
        known = self.outbox.channels
        wanted = channels or self.parts.config.report_to(task) or (known if len(known) == 1 else ())
        listed = ", ".join(known) or "none is configured in `messages:`"
        if not wanted:
            raise Permanent(f"name a channel, or give the task `report_to`: {listed}")
        if unknown := [name for name in wanted if name not in known]:
            raise Permanent(f"unknown channel {unknown[0]!r}; configured: {listed}")
        message = ChannelMessage(title or task, [text])
        return await self.outbox.post(message, wanted, source=task) == len(set(wanted))
