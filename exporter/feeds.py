"""Feeds: asking sources for bars while they matter, and knowing how overdue each symbol is.

What a scrape shows is computed from one remembered fact a symbol (the newest closed bar) and the
exchange's calendar, so it is right at every moment, whether or not the poller is alive.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from exporter.calendars import Calendar
from exporter.clock import Clock, iso
from exporter.config import Config, Feed
from exporter.metrics import NAN, Metrics, Sample
from exporter.sources.base import Bar, Source, SourceError, Ticker
from exporter.state import State
from exporter.units import format_duration

logger = logging.getLogger(__name__)

SETTLE = 2.0
"""Seconds after a bar's end at which the source is first asked for it."""
_MISSING_RETRY = 60.0
_SLICE = 5.0


@dataclass(frozen=True)
class Known:
    """What is remembered of one symbol; times are Unix seconds. ``since``: when we first asked."""

    since: float
    end: float = NAN
    close: float = NAN

    @property
    def from_when(self) -> float:
        """Bars that end after this moment are expected."""
        return self.since if math.isnan(self.end) else self.end


@dataclass
class FeedState:
    """One feed at work."""

    name: str
    feed: Feed
    calendar_of: Callable[[str], Calendar]
    source: Source
    known: dict[str, Known] = field(default_factory=dict)
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)
    last_poll: float = NAN
    problem: str | None = None

    @property
    def calendar(self) -> Calendar:
        """The exchange's calendar as it is now: it is renewed before it ends."""
        return self.calendar_of(self.feed.exchange)

    def missing(self, now: float) -> list[str]:
        """Symbols whose newest closed bar is not there yet, due or not."""
        newest = self.calendar.last_bar_end_before(self.feed.interval, now)
        return [s for s, k in self.known.items() if k.from_when < newest]

    def overdue(self, known: Known, now: float) -> float:
        """Seconds since the oldest missing bar fell due; 0 when none is missing."""
        first = self.calendar.first_bar_end_after(self.feed.interval, known.from_when)
        return max(0.0, now - first - self.feed.delay)

    def next_poll(self, now: float) -> float:
        """When to ask next: at bar ends, each poll while open, often while a bar is missing."""
        if math.isnan(self.last_poll) or self.last_poll > now:
            return now
        feed, calendar = self.feed, self.calendar
        after = max(self.last_poll - SETTLE, 0.0)
        due = [calendar.first_bar_end_after(feed.interval, after) + SETTLE]
        if calendar.is_open(now):
            due.append(self.last_poll + feed.poll_seconds)
        else:
            due.append(calendar.next_open(now) + SETTLE)
        if self.missing(now - SETTLE):
            newest = calendar.last_bar_end_before(feed.interval, now)
            early = now < newest + feed.delay
            pause = min(max(feed.poll_seconds / 4, 5.0), 30.0) if early else _MISSING_RETRY
            due.append(self.last_poll + min(feed.poll_seconds, pause))
        return max(min(due), self.last_poll + 1.0)


class Feeds:
    """All configured feeds; remembers newest bars in state under the kind ``bar``."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        metrics: Metrics,
        source: Callable[[str], Source],
        calendar: Callable[[str], Calendar],
    ) -> None:
        self._state, self._clock = state, clock
        self._source, self._calendar = source, calendar
        self.feeds: dict[str, FeedState] = {}
        self._pollers: dict[str, asyncio.Task[None]] = {}
        metrics.add_reader(self.read)

    def apply(self, config: Config) -> None:
        """Take what is configured; what is known of symbols that stay is kept."""
        kept, now = self._state.kept("bar"), self._clock.now()
        before, self.feeds = self.feeds, {}
        for name, feed in config.feeds.items():
            state = FeedState(name, feed, self._calendar, self._source(feed.source))
            old = before.get(name)
            # Another interval or source is another series of bars: nothing carries over.
            series = (feed.source, feed.interval)
            same = old is not None and (old.feed.source, old.feed.interval) == series
            for symbol in feed.symbols:
                saved = kept.get(f"{name}|{symbol}") or {}
                if old is not None and same and symbol in old.known:
                    state.known[symbol] = old.known[symbol]
                elif old is None and saved.get("series") == list(series):
                    state.known[symbol] = Known(
                        float(saved["since"]),
                        *(NAN if saved[k] is None else float(saved[k]) for k in ("end", "close")),
                    )
                else:
                    state.known[symbol] = Known(since=now)
            if old is not None and same:
                state.spread = {s: v for s, v in old.spread.items() if s in state.known}
            self.feeds[name] = state

    async def start(self) -> None:
        """Begin, or after a reload go on, polling every feed."""
        await self.stop()
        for name, state in self.feeds.items():
            self._pollers[name] = asyncio.create_task(
                self._poll_forever(state), name=f"feed {name}"
            )

    async def stop(self) -> None:
        """End all polling."""
        for poller in self._pollers.values():
            poller.cancel()
        await asyncio.gather(*self._pollers.values(), return_exceptions=True)
        self._pollers.clear()

    async def _poll_forever(self, state: FeedState) -> None:
        # A second between the first polls of many feeds is of no use; the source paces itself.
        while True:
            now = self._clock.now()
            wait = state.next_poll(now) - now
            if wait > 0:
                # Never for long: the wall clock may be set while we sleep.
                await asyncio.sleep(min(wait, _SLICE))
                continue
            try:
                await self.poll(state)
            except Exception:
                logger.exception(
                    "polling %s failed",
                    state.name,
                    extra={"event": "poll_failed", "feed": state.name},
                )

    async def poll(self, state: FeedState) -> None:
        """Ask once for the newest bars, and for tickers while the exchange is open."""
        now = self._clock.now()
        missing = state.missing(now - SETTLE)
        regular = not (state.last_poll + state.feed.poll_seconds > now)
        state.last_poll = now
        symbols = list(state.feed.symbols) if regular or not missing else missing
        fresh: dict[str, Bar] = {}
        problems: dict[str, SourceError] = {}
        try:
            answer = await state.source.latest(symbols, state.feed.interval)
            problems.update(answer.bad)
            fresh = self._closed(state, answer.good.items())
            # A source may answer with the forming bar alone; its predecessor is asked for by name.
            lacking = [s for s in state.missing(now) if s in answer.good and s not in fresh]
            fresh |= await self._recent(state, lacking, problems)
        except SourceError as error:
            problems.update(dict.fromkeys(symbols, error))
        await self._take(state, fresh)
        if state.calendar.is_open(now) and not (set(problems) >= set(symbols)):
            await self._spreads(state, symbols)
        self._report(state, problems)

    def _closed(self, state: FeedState, series: Iterable[tuple[str, list[Bar]]]) -> dict[str, Bar]:
        """The newest closed bar of each symbol that is newer than the one known."""
        now = self._clock.now()
        fresh: dict[str, Bar] = {}
        for symbol, bars in series:
            known = state.known.get(symbol)
            for bar in bars:
                end = state.calendar.bar_end(bar.start, state.feed.interval)
                newest = fresh[symbol].start if symbol in fresh else -math.inf
                if known and end <= now and bar.start > newest and not end <= known.end:
                    fresh[symbol] = bar
        return fresh

    async def _recent(
        self, state: FeedState, symbols: list[str], problems: dict[str, SourceError]
    ) -> dict[str, Bar]:
        found: dict[str, Bar] = {}
        interval = state.feed.interval

        async def one(symbol: str) -> None:
            try:
                bars = await state.source.recent(symbol, interval, 3)
            except SourceError as error:
                problems[symbol] = error
            else:
                found.update(self._closed(state, [(symbol, bars)]))

        await asyncio.gather(*(one(symbol) for symbol in symbols))
        return found

    async def _take(self, state: FeedState, fresh: dict[str, Bar]) -> None:
        for symbol, bar in fresh.items():
            end = state.calendar.bar_end(bar.start, state.feed.interval)
            state.known[symbol] = replace(state.known[symbol], end=end, close=bar.close)
        series = [state.feed.source, state.feed.interval]
        rows = []
        for symbol, known in state.known.items():
            if symbol in fresh or math.isnan(known.end):
                value = {"since": known.since, "series": series}
                value["end"] = None if math.isnan(known.end) else known.end
                value["close"] = None if math.isnan(known.close) else known.close
                rows.append(("bar", f"{state.name}|{symbol}", value))
        if rows:
            await self._state.keep_many(rows)

    async def _spreads(self, state: FeedState, symbols: list[str]) -> None:
        try:
            answer = await state.source.tickers(symbols)
        except SourceError:
            return  # counted and logged by the source; the spread becomes NaN by age
        for symbol, ticker in answer.good.items():
            if symbol in state.known:
                state.spread[symbol] = (self._clock.now(), spread_ratio(ticker))

    def _report(self, state: FeedState, problems: dict[str, SourceError]) -> None:
        """Say once that a feed has trouble, and once that it is over."""
        text = None
        if problems:
            symbol, error = next(iter(problems.items()))
            others = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            text = f"{symbol}{others}: {error}"
        fields = {"event": "feed_trouble" if text else "feed_well", "feed": state.name}
        if text and not state.problem:
            logger.warning("feed %s lacks bars of %s", state.name, text, extra=fields)
        elif state.problem and not text:
            logger.info("feed %s is well again", state.name, extra=fields)
        state.problem = text

    def describe(self, state: FeedState) -> list[str]:
        """What is overdue in a feed, worst first, as sentences."""
        now = self._clock.now()
        late = sorted(
            ((state.overdue(k, now), s, k) for s, k in state.known.items()), key=lambda x: -x[0]
        )
        return [
            f"{symbol} overdue for {format_duration(seconds)}, last bar "
            + ("never" if math.isnan(known.end) else iso(known.end))
            for seconds, symbol, known in late
            if seconds > 0
        ]

    def read(self) -> Iterator[Sample]:
        """The samples of one scrape."""
        now = self._clock.now()
        for name, state in list(self.feeds.items()):
            feed = state.feed
            labels = (name, feed.source, feed.interval, feed.exchange, feed.severity)
            yield "quant_feed_info", labels, 1.0
            for severity, seconds in feed.max_overdue.items():
                yield "quant_feed_overdue_limit_seconds", (name, severity), seconds
            for severity, ratio in feed.max_spread.items():
                yield "quant_feed_spread_limit_ratio", (name, severity), ratio
            yield from self._read_symbols(state, now)

    def _read_symbols(self, state: FeedState, now: float) -> Iterator[Sample]:
        # Most of 500 symbols share their newest bar: each distinct moment is looked up once.
        by_moment: dict[float, tuple[float, int]] = {}
        is_open = state.calendar.is_open(now)
        oldest_spread = now - max(3 * state.feed.poll_seconds, 60.0)
        missing = 0
        for symbol, known in list(state.known.items()):
            moment = known.from_when
            if moment not in by_moment:
                count = state.calendar.expected_bars(
                    state.feed.interval, moment, now - state.feed.delay
                )
                by_moment[moment] = (state.overdue(known, now), count)
            overdue, count = by_moment[moment]
            missing += count
            asked, spread = state.spread.get(symbol, (0.0, NAN))
            label = (state.name, symbol)
            yield "quant_data_last_bar_timestamp_seconds", label, known.end
            yield "quant_data_age_seconds", label, now - known.end
            yield "quant_data_overdue_seconds", label, overdue
            yield "quant_data_close_price", label, known.close
            current = is_open and asked >= oldest_spread
            yield "quant_data_spread_ratio", label, spread if current else NAN
        yield "quant_feed_missing_bars", (state.name,), float(missing)


def spread_ratio(ticker: Ticker) -> float:
    """(ask - bid) / mid; NaN when a side is not quoted or the book is crossed at zero."""
    if ticker.bid is None or ticker.ask is None or ticker.bid + ticker.ask <= 0:
        return NAN
    return (ticker.ask - ticker.bid) / ((ticker.ask + ticker.bid) / 2)
