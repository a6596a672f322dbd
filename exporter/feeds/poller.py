"""Polling: feeds ask their sources, remember the bars, and provide what a scrape shows.

What a scrape shows is computed from one remembered fact a symbol (the newest closed bar) and the
exchange's calendar, so it is right at every moment, whether or not the poller is alive.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from exporter.calendars.loader import Calendar
from exporter.config import Config
from exporter.feeds.feed import SETTLE, FeedState
from exporter.feeds.feed_samples import SymbolSeries
from exporter.feeds.pushed import restore_pushed, take_pushed
from exporter.feeds.request_share import shares
from exporter.feeds.standstill import silent_since
from exporter.feeds.streams import Streams
from exporter.feeds.symbol_state import SymbolState, after_answer
from exporter.feeds.takeover import Takeover
from exporter.metrics import Column, Metrics, Sample
from exporter.sources.base import Answer, Bar, DataSource, SourceError, Ticker
from exporter.state import State
from exporter.util.clock import Clock, iso
from exporter.util.nan import NAN
from exporter.util.units import format_duration

logger = logging.getLogger(__name__)

_SLICE = 5.0
STALE_QUOTE_SECONDS = 900.0
"""A quote that is older is not one of now."""


class Feeds:
    """All configured feeds; remembers newest bars in state under the kind ``bar``."""

    def __init__(
        self,
        state: State,
        clock: Clock,
        metrics: Metrics,
        source: Callable[[str], DataSource],
        calendar: Callable[[str], Calendar],
    ) -> None:
        self._state, self._clock = state, clock
        self._source, self._calendar = source, calendar
        self.feeds: dict[str, FeedState] = {}
        self._series: dict[str, SymbolSeries] = {}
        self._pollers: dict[str, asyncio.Task[None]] = {}
        self.streams = Streams(clock, calendar)
        metrics.add_reader(self.read)
        metrics.add_reader(self.streams.read)

    def now(self) -> float:
        """The moment to pass to :meth:`FeedState.overdue`, Unix seconds."""
        return self._clock.now()

    def apply(self, config: Config) -> None:
        """Apply the config; what is known of symbols that stay is kept."""
        kept, now = self._state.kept("bar"), self._clock.now()
        before, self.feeds = self.feeds, {}
        self.streams.apply(config.feeds)
        share = shares(config)
        for name, feed in config.feeds.items():
            state = FeedState(name, feed, self._calendar, self._source(feed.source), share[name])
            old = before.get(name)
            # Another interval or source is another series of bars: nothing carries over.
            series = (feed.source, feed.interval)
            same = old is not None and (old.feed.source, old.feed.interval) == series
            for symbol in feed.symbols:
                saved = kept.get(f"{name}|{symbol}") or {}
                if old is not None and same and symbol in old.known:
                    state.known[symbol] = old.known[symbol]
                elif old is None and saved.get("series") == list(series):
                    state.known[symbol] = SymbolState.from_json(saved)
                else:
                    state.known[symbol] = SymbolState(since=now)
            if old is not None and same:
                state.saved = old.saved
                state.spread = {s: v for s, v in old.spread.items() if s in state.known}
            restore_pushed(self._state, state)
            if feed.fallback:
                second = self._source(feed.fallback)
                state.takeover = Takeover(name, state.source, second)
                if old is not None and same and old.takeover and old.feed.fallback == feed.fallback:
                    state.takeover = old.takeover.continued(state.source, second)
            self.feeds[name] = state
        self._series = {name: SymbolSeries(state) for name, state in self.feeds.items()}

    async def start(self) -> None:
        """Begin, or after a reload go on, polling every feed."""
        await self.stop()
        await self.streams.start(self._source)
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
        await self.streams.stop()

    async def push(self, name: str, rows: Sequence[Any]) -> Mapping[str, Any]:
        """Bars of a feed whose source is pushed to; see :func:`.pushed.take_pushed`."""
        state = self.feeds[name]
        answer = await take_pushed(self._state, state, rows)
        await self.poll(state)
        return answer

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
        due = state.is_full_poll_due(now)
        state.last_poll = now
        if not due and not missing and state.missing_closes(now):
            await self._fetch_individually(state, {})
            await self._keep(state)
            return
        full = due or not missing
        symbols = list(state.feed.symbols) if full else missing
        if full:
            state.last_full = now
        answer = await self._latest(state, symbols)
        problems = dict(answer.bad)
        for symbol, bars in answer.good.items():
            if self._apply_bars(state, symbol, bars):
                state.forming.discard(symbol)
            else:
                state.forming.add(symbol)
        await self._fetch_individually(state, problems)
        await self._keep(state)
        quoted = state.source.has_tickers and state.calendar.is_open(now)
        if full and quoted and not (set(problems) >= set(symbols)):
            await self._spreads(state, symbols)
        state.unanswered = (state.unanswered - set(symbols)) | problems.keys()
        self._report(state, problems)

    async def _latest(self, state: FeedState, symbols: list[str]) -> Answer[list[Bar]]:
        """The newest bars, from the second source where the first fails."""
        feed, now = state.feed, self._clock.now()
        answer = await state.source.latest(symbols, feed.interval)
        if state.takeover is None:
            return answer
        was_on = state.takeover.is_on
        answer = await state.takeover.with_second(
            answer,
            symbols,
            feed.interval,
            calendar=state.calendar,
            due_until=now - feed.delay,
            now=now,
        )
        if state.takeover.is_on != was_on:  # prices of two sources are not compared
            state.known = {s: replace(k, unchanged=0) for s, k in state.known.items()}
        return answer

    def _apply_bars(self, state: FeedState, symbol: str, bars: list[Bar]) -> bool:
        """Apply one symbol's bars; returns whether a closed bar was among them."""
        if symbol not in state.known:
            return True
        state.known[symbol], closed = after_answer(
            state.known[symbol], bars, state.calendar, state.feed.interval, self._clock.now()
        )
        return closed

    async def _fetch_individually(self, state: FeedState, problems: dict[str, SourceError]) -> None:
        """Fetch the closes of symbols of which the source showed only the forming bar.

        That needs one request per symbol, so only as many are sent at a time as the budget allows.
        """
        interval, now = state.feed.interval, self._clock.now()

        async def one(symbol: str) -> None:
            state.fetched_individually[symbol] = now
            try:
                self._apply_bars(state, symbol, await state.source.recent(symbol, interval, 3))
                state.individually_answered[symbol] = self._clock.now()
            except SourceError as error:
                problems[symbol] = error

        lacking = state.missing_closes(now)[: state.single_requests_left(now)]
        await asyncio.gather(*(one(symbol) for symbol in lacking))

    async def _keep(self, state: FeedState) -> None:
        series = [state.feed.source, state.feed.interval]
        known = dict(state.known)
        rows = [
            ("bar", f"{state.name}|{symbol}", one.to_json(series))
            for symbol, one in known.items()
            if one != state.saved.get(symbol)
        ]
        if rows:
            await self._state.keep_many(rows)
            state.saved = known

    async def _spreads(self, state: FeedState, symbols: list[str]) -> None:
        try:
            answer = await state.source.tickers(symbols)
        except SourceError:
            return  # counted and logged by the source; the spread becomes NaN by age
        for symbol, ticker in answer.good.items():
            if symbol in state.known:
                # A source that repeats an old quote says nothing of the spread now.
                stale = ticker.at < self._clock.now() - STALE_QUOTE_SECONDS
                spread = NAN if stale else spread_ratio(ticker)
                state.spread[symbol] = (self._clock.now(), spread)

    def _report(self, state: FeedState, problems: dict[str, SourceError]) -> None:
        """Log once that a feed has a problem, and once that it is over."""
        text = None
        if problems:
            symbol, error = next(iter(problems.items()))
            others = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
            text = f"{symbol}{others}: {error.about(symbol)}"
        fields = {"event": "feed_trouble" if text else "feed_well", "feed": state.name}
        if text and not state.problem:
            logger.warning("feed %s has no current bars for %s", state.name, text, extra=fields)
        elif state.problem and not text:
            logger.info("feed %s is ok again", state.name, extra=fields)
        state.problem = text

    def last_price(self, feed: str, symbol: str) -> tuple[float, float, float] | None:
        """The newest close of a symbol, or its newest price by a stream; as of when it is, and for
        how many seconds of trading a newer one has been due. None while there is none."""
        state, now = self.feeds.get(feed), self._clock.now()
        known = state.known.get(symbol) if state else None
        if state is None or known is None:
            return None
        heard = self.streams.heard.get((state.feed.source, symbol))
        at = now - heard.at.age(self._clock) if heard else NAN
        if state.feed.stream and heard and not at <= known.priced:
            return heard.price, at, self.streams.silence(feed, symbol, now)
        if math.isnan(known.close):
            return None
        return known.close, known.priced, state.close_overdue(known, now)

    def describe(self, state: FeedState) -> list[str]:
        """What is overdue in a feed, worst first, as sentences."""
        now = self._clock.now()
        late = sorted(
            ((state.overdue(k, now), s, k) for s, k in state.watched(now).items()),
            key=lambda x: -x[0],
        )
        return [
            f"{symbol} overdue for {format_duration(seconds)}, last bar "
            + ("never" if math.isnan(known.end) else iso(known.end))
            for seconds, symbol, known in late
            if seconds > 0
        ]

    def read(self) -> Iterator[Sample | Column]:
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
            if state.takeover and feed.fallback:
                since = state.takeover.since
                name_of_it = "quant_feed_fallback_since_timestamp_seconds"
                yield name_of_it, (name, feed.fallback), since
            if feed.max_unchanged:
                yield "quant_feed_unchanged_limit_bars", (name,), float(feed.max_unchanged)
            if series := self._series.get(name):
                yield from series.read(now)
        by_exchange: dict[str, list[FeedState]] = {}
        for state in list(self.feeds.values()):
            by_exchange.setdefault(state.feed.exchange, []).append(state)
        for exchange, states in by_exchange.items():
            since, day = silent_since(states, now)
            yield "quant_exchange_silent_since_timestamp_seconds", (exchange, day), since


def spread_ratio(ticker: Ticker) -> float:
    """|ask - bid| / mid: a crossed book is as odd as a wide one. NaN when a side is not quoted, or
    not a price."""
    if ticker.bid is None or ticker.ask is None:
        return NAN
    middle = ticker.ask / 2 + ticker.bid / 2
    if not 0 < middle < math.inf:
        return NAN
    return abs(ticker.ask - ticker.bid) / middle
