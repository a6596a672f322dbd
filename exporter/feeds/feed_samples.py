"""What one scrape exposes of each symbol of a feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from exporter.feeds.feed import FeedState
from exporter.feeds.standstill import halted_symbols
from exporter.feeds.symbol_state import SymbolState
from exporter.metrics import Column, Sample
from exporter.util.nan import NAN


class SymbolSeries:
    """The series of one feed's symbols. What a new bar alone changes is kept until one comes."""

    def __init__(self, state: FeedState) -> None:
        self._state = state
        self._key: Any = None
        self._kept: _Kept

    def read(self, now: float) -> Iterator[Sample | Column]:
        """The symbols' series, and how many bars of the feed are missing; `now` in Unix seconds."""
        state = self._state
        known = dict(state.known)
        watched = state.watched(now)
        key = (list(known.values()), list(watched), state.unanswered, state.calendar)
        if key != self._key:
            self._key, self._kept = key, _kept(state, known, watched, now)
        kept = self._kept
        yield from kept.columns
        yield Column("quant_data_age_seconds", kept.labels, [now - end for end in kept.ends])
        yield Column("quant_data_spread_ratio", kept.labels, _spreads(state, known, now))
        watched_from = Counter(moment for moment in kept.moments if moment is not None)
        overdue = {moment: state.overdue_from(moment, now) for moment in watched_from}
        late = [NAN if moment is None else overdue[moment] for moment in kept.moments]
        yield Column("quant_data_overdue_seconds", kept.labels, late)
        until = now - state.feed.delay
        missing = sum(
            count * state.calendar.expected_bars(state.feed.interval, moment, until)
            for moment, count in watched_from.items()
        )
        yield "quant_feed_missing_bars", (state.name,), float(missing)


@dataclass(frozen=True)
class _Kept:
    labels: list[tuple[str, str]]
    ends: list[float]
    moments: list[float | None]
    """From when each symbol's bars are expected; None for one that is ignored."""
    columns: list[Column]


def _kept(
    state: FeedState, known: dict[str, SymbolState], watched: dict[str, SymbolState], now: float
) -> _Kept:
    labels = [(state.name, symbol) for symbol in known]
    of_watched = [(state.name, symbol) for symbol in watched] if watched != known else labels
    halted = halted_symbols(state, now)
    ends = [each.end for each in known.values()]
    columns = [
        Column("quant_data_last_bar_timestamp_seconds", labels, ends),
        Column("quant_data_close_price", labels, [each.close for each in known.values()]),
        Column("quant_data_halted", of_watched, [float(symbol in halted) for symbol in watched]),
    ]
    if state.feed.ignore:
        ignored = [float(symbol not in watched) for symbol in known]
        columns.append(Column("quant_data_ignored", labels, ignored))
    if state.feed.max_unchanged:
        unchanged = [float(each.unchanged) for each in watched.values()]
        columns.append(Column("quant_data_unchanged_bars", of_watched, unchanged))
    moments = [each.from_when if s in watched else None for s, each in known.items()]
    return _Kept(labels, ends, moments, columns)


def _spreads(state: FeedState, symbols: Iterable[str], now: float) -> list[float]:
    """NaN where none was quoted lately, and while the exchange is closed."""
    if not state.calendar.is_open(now):
        return [NAN for _ in symbols]
    oldest = now - max(3 * state.feed.poll_seconds, 60.0)
    quotes = [state.spread.get(symbol, (0.0, NAN)) for symbol in symbols]
    return [spread if asked >= oldest else NAN for asked, spread in quotes]
