"""What one scrape exposes of each symbol of a feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from exporter.feeds.feed import FeedState
from exporter.feeds.standstill import halted_symbols
from exporter.metrics import Column, Sample
from exporter.util.nan import NAN


def symbol_samples(state: FeedState, now: float) -> Iterator[Sample | Column]:
    """The symbols' series, and how many bars of the feed are missing."""
    everyone = dict(state.known)
    known, labels = list(everyone.values()), [(state.name, symbol) for symbol in everyone]
    yield Column("quant_data_last_bar_timestamp_seconds", labels, [k.end for k in known])
    yield Column("quant_data_age_seconds", labels, [now - k.end for k in known])
    yield Column("quant_data_close_price", labels, [k.close for k in known])
    yield Column("quant_data_spread_ratio", labels, _spreads(state, everyone, now))
    watched = state.watched(now)
    if state.feed.ignore:
        ignored = [float(symbol not in watched) for symbol in everyone]
        yield Column("quant_data_ignored", labels, ignored)
    overdue = state.overdue_by_moment(now)
    late = [overdue[k.from_when] if s in watched else NAN for s, k in everyone.items()]
    yield Column("quant_data_overdue_seconds", labels, late)
    if len(watched) < len(everyone):
        labels = [(state.name, symbol) for symbol in watched]
    halted = halted_symbols(state, now)
    yield Column("quant_data_halted", labels, [float(symbol in halted) for symbol in watched])
    if state.feed.max_unchanged:
        unchanged = [float(k.unchanged) for k in watched.values()]
        yield Column("quant_data_unchanged_bars", labels, unchanged)
    until = now - state.feed.delay
    missing = sum(
        count * state.calendar.expected_bars(state.feed.interval, moment, until)
        for moment, count in Counter(k.from_when for k in watched.values()).items()
    )
    yield "quant_feed_missing_bars", (state.name,), float(missing)


def _spreads(state: FeedState, symbols: Iterable[str], now: float) -> list[float]:
    """NaN where none was quoted lately, and while the exchange is closed."""
    if not state.calendar.is_open(now):
        return [NAN for _ in symbols]
    oldest = now - max(3 * state.feed.poll_seconds, 60.0)
    quotes = [state.spread.get(symbol, (0.0, NAN)) for symbol in symbols]
    return [spread if asked >= oldest else NAN for asked, spread in quotes]
