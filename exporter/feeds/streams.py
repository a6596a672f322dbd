"""Last prices of feeds with `stream`: one connection a source, and the silence of each symbol."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from exporter.calendars.loader import Calendar
from exporter.config import Feed
from exporter.metrics import Sample
from exporter.sources.base import DataSource
from exporter.sources.realtime import Realtime
from exporter.sources.realtime_messages import Tick
from exporter.util.clock import Clock
from exporter.util.nan import NAN
from exporter.util.units import format_duration

_LONGEST_SECONDS = 10 * 86400.0
"""Silence beyond this is not counted further."""
_SILENT_SECONDS = 300.0


@runtime_checkable
class Streaming(Protocol):
    """A source that has a stream."""

    name: str

    def realtime(
        self, wanted: Mapping[str, tuple[str, ...]], on_tick: Callable[[Tick], None]
    ) -> Realtime:
        """One connection with these subscriptions; it connects when it is run."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment on both clocks: one of them may be set, the other stands still in a laptop that
    sleeps."""

    wall: float
    monotonic: float

    def age(self, clock: Clock) -> float:
        """Seconds since then, by the clock that says more."""
        return max(clock.now() - self.wall, clock.monotonic() - self.monotonic)


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest price of one symbol: what it says, its stamp, and the moment that means here."""

    price: float
    stamp: float
    at: Moment


@dataclass
class Streams:
    """What the streams of all feeds brought. `calendar` gives an exchange's."""

    clock: Clock
    calendar: Callable[[str], Calendar]
    feeds: dict[str, Feed] = field(default_factory=dict)
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)
    """By source and symbol."""
    since: dict[tuple[str, str], Moment] = field(default_factory=dict)
    """By source and symbol: when we began to listen."""
    _running: dict[str, tuple[Realtime, asyncio.Task[None]]] = field(default_factory=dict)

    def apply(self, feeds: Mapping[str, Feed]) -> None:
        """Listen for these feeds from the next :meth:`start` on."""
        self.feeds = {name: feed for name, feed in feeds.items() if feed.stream}
        began = Moment(self.clock.now(), self.clock.monotonic())
        wanted = {(f.source, s) for f in self.feeds.values() for s in f.symbols}
        self.since = {key: self.since.get(key, began) for key in wanted}
        self.heard = {key: heard for key, heard in self.heard.items() if key in wanted}

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
            before = self.heard.get((source, tick.symbol))
            if before is not None and tick.at < before.stamp:
                return  # another channel was quicker
            now = self.clock.now()
            late = max(0.0, now - tick.at)
            at = Moment(now - late, self.clock.monotonic() - late)
            self.heard[source, tick.symbol] = Heard(tick.price, tick.at, at)

        return hear

    def silence(self, name: str, symbol: str, now: float) -> float:
        """Seconds of trading since the newest message about a symbol, or since we listen. It goes
        on after a night, and does not grow while the exchange is closed."""
        feed = self.feeds[name]
        key = (feed.source, symbol)
        heard = self.heard.get(key)
        age = min((heard.at if heard else self.since[key]).age(self.clock), _LONGEST_SECONDS)
        after = now - age
        return sum(
            max(0.0, min(closed, now) - max(opened, after))
            for session in self.calendar(feed.exchange).sessions(after, now + 1.0)
            for opened, closed in session.segments
        )

    def trouble(self, name: str, now: float) -> str:
        """For people: who is silent for longer than the feed's lowest limit, five minutes without
        one; empty when nobody is, and for a feed without a stream."""
        feed = self.feeds.get(name)
        if feed is None:
            return ""
        limit = min(feed.max_silence.values(), default=_SILENT_SECONDS)
        ignored = feed.ignored_on(self.calendar(feed.exchange).day_of(now))
        silences = {s: self.silence(name, s, now) for s in feed.symbols if s not in ignored}
        silent = sorted((s for s in silences if silences[s] > limit), key=lambda s: -silences[s])
        if not silent:
            return ""
        others = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        lasted = format_duration(silences[silent[0]])
        return f"the stream has had no message about {silent[0]}{others} for {lasted} of trading"

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
                heard = self.heard.get((feed.source, symbol))
                moment = now - heard.at.age(self.clock) if heard else NAN
                yield "quant_stream_last_message_timestamp_seconds", (name, symbol), moment
                price = heard.price if heard else NAN
                yield "quant_stream_last_price", (name, symbol), price
                silent = NAN if symbol in ignored else self.silence(name, symbol, now)
                yield "quant_stream_silence_seconds", (name, symbol), silent
