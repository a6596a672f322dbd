"""Last prices of feeds with `stream`: one connection a source, and the silence of each symbol."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from exporter.calendars.loader import Calendar
from exporter.config import Feed
from exporter.metrics import Sample
from exporter.sources.base import DataSource
from exporter.sources.realtime import Realtime, Tick
from exporter.util.clock import Clock
from exporter.util.nan import NAN

logger = logging.getLogger(__name__)

_LONGEST_SECONDS = 10 * 86400.0
"""Silence beyond this is not counted further."""


@runtime_checkable
class Streaming(Protocol):
    """A source that has a stream."""

    name: str

    def realtime(
        self, wanted: Mapping[str, tuple[str, ...]], on_tick: Callable[[Tick], None]
    ) -> Realtime:
        """One connection with these subscriptions; it connects when it is run."""


@dataclass
class Streams:
    """What the streams of all feeds brought. `calendar` gives an exchange's."""

    clock: Clock
    calendar: Callable[[str], Calendar]
    feeds: dict[str, Feed] = field(default_factory=dict)
    heard: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)
    """By source and symbol: when we heard the newest message, and its price."""
    since: dict[str, float] = field(default_factory=dict)
    """By feed: when we began to listen."""
    _running: dict[str, tuple[Realtime, asyncio.Task[None]]] = field(default_factory=dict)

    def apply(self, feeds: Mapping[str, Feed]) -> None:
        """Listen for these feeds from the next :meth:`start` on."""
        now = self.clock.now()
        self.feeds = {name: feed for name, feed in feeds.items() if feed.stream}
        self.since = {name: self.since.get(name, now) for name in self.feeds}
        kept = {(f.source, s) for f in self.feeds.values() for s in f.symbols}
        self.heard = {key: value for key, value in self.heard.items() if key in kept}

    async def start(self, source: Callable[[str], DataSource]) -> None:
        """Connect, or after a reload connect again: a plan may allow one connection."""
        await self.stop()
        for name in {feed.source for feed in self.feeds.values()}:
            streaming = source(name)
            if isinstance(streaming, Streaming):
                connection = streaming.realtime(self._wanted(name), self._listener(name))
                task = asyncio.create_task(connection.run(), name=f"stream {name}")
                self._running[name] = connection, task

    async def stop(self) -> None:
        """End all connections."""
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._running.clear()

    def _wanted(self, source: str) -> dict[str, tuple[str, ...]]:
        found: dict[str, dict[str, None]] = {}
        for feed in self.feeds.values():
            for channel in feed.stream if feed.source == source else ():
                found.setdefault(channel, {}).update(dict.fromkeys(feed.symbols))
        return {channel: tuple(symbols) for channel, symbols in found.items()}

    def _listener(self, source: str) -> Callable[[Tick], None]:
        def hear(tick: Tick) -> None:
            self.heard[source, tick.symbol] = self.clock.now(), tick.price

        return hear

    def silence(self, name: str, symbol: str, now: float) -> float:
        """Seconds of trading since the newest message about a symbol, or since we listen. It goes
        on after a night, and does not grow while the exchange is closed."""
        feed = self.feeds[name]
        heard, _ = self.heard.get((feed.source, symbol), (-math.inf, NAN))
        after = max(heard, self.since[name], now - _LONGEST_SECONDS)
        return sum(
            max(0.0, min(closed, now) - max(opened, after))
            for session in self.calendar(feed.exchange).sessions(after, now + 1.0)
            for opened, closed in session.segments
        )

    def read(self) -> Iterator[Sample]:
        """The samples of one scrape."""
        now = self.clock.now()
        for source, (connection, _) in list(self._running.items()):
            yield "quant_stream_connected", (source,), float(connection.connected)
        for name, feed in list(self.feeds.items()):
            for severity, seconds in feed.max_silence.items():
                yield "quant_feed_silence_limit_seconds", (name, severity), seconds
            ignored = feed.ignored_on(self.calendar(feed.exchange).day_of(now))
            for symbol in feed.symbols:
                heard, price = self.heard.get((feed.source, symbol), (NAN, NAN))
                yield "quant_stream_last_message_timestamp_seconds", (name, symbol), heard
                yield "quant_stream_last_price", (name, symbol), price
                silent = NAN if symbol in ignored else self.silence(name, symbol, now)
                yield "quant_stream_silence_seconds", (name, symbol), silent
