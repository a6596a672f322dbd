"""Daily closes of symbols, as the pre-market scan and the end-of-day report need them.

What was seen is remembered: some sources show one daily bar in a batch, and asking for the day
before it would cost a request a symbol.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exporter.calendars.loader import Calendar
from exporter.sources.base import Bar, DataSource, SourceError
from exporter.state import State

MOST_ALONE = 100
"""Most symbols that one run fetches individually: two minutes at 60 a minute."""
_KIND = "daily_close"
_REMEMBERED = 3

Closes = dict[float, float]
"""The end of a session, Unix seconds, to the symbol's close of it."""


@dataclass(frozen=True)
class DailyCloses:
    """Closes by symbol, ascending by session, and what went wrong for the others."""

    closes: dict[str, Closes]
    problems: dict[str, str]


async def daily_closes(
    source: DataSource,
    state: State,
    symbols: list[str],
    calendar: Calendar,
    now: float,
    *,
    wanted: int,
) -> DailyCloses:
    """The closes of the last `wanted` sessions of each symbol, where source or memory have them.

    One batched request first. Symbols for which that and memory say too little are asked for one by
    one, :data:`MOST_ALONE` of them. The source's budget paces all of it.
    """
    answer = await source.latest(symbols, "1d")
    problems = {symbol: error.about(symbol) for symbol, error in answer.bad.items()}
    kept = state.kept(_KIND)
    closes = {
        symbol: _with_memory(
            closed(found, calendar, now), found, kept.get(f"{source.name}|{symbol}")
        )
        for symbol, found in answer.good.items()
    }
    sessions = _last_sessions(calendar, now, wanted)

    async def one(symbol: str) -> None:
        try:
            closes[symbol] |= closed(await source.recent(symbol, "1d", wanted + 2), calendar, now)
        except SourceError as error:
            if not closes[symbol]:
                problems[symbol] = error.about(symbol)

    lacking = [symbol for symbol, found in closes.items() if not sessions <= found.keys()]
    # Those without the last session come first: without it there is nothing to report.
    lacking.sort(key=lambda symbol: max(sessions) in closes[symbol])
    await asyncio.gather(*(one(symbol) for symbol in lacking[:MOST_ALONE]))
    closes = {symbol: dict(sorted(found.items())) for symbol, found in closes.items()}
    await state.keep_many(
        (_KIND, f"{source.name}|{symbol}", list(found.items())[-_REMEMBERED:])
        for symbol, found in closes.items()
        if found
    )
    return DailyCloses(closes, problems)


def closed(bars: Iterable[Bar], calendar: Calendar, now: float) -> Closes:
    """Closes of the daily bars whose session has ended."""
    ends = {calendar.bar_end(bar.start, "1d"): bar.close for bar in bars}
    return {end: close for end, close in ends.items() if end <= now}


def _last_sessions(calendar: Calendar, now: float, count: int) -> set[float]:
    found: set[float] = set()
    session = calendar.previous_session(now)
    while len(found) < count:
        found.add(session.close)
        session = calendar.previous_session(session.open)
    return found


def _with_memory(shown: Closes, bars: list[Bar], saved: Any) -> Closes:
    """What the source shows, and what is remembered of sessions before that.

    Where it shows closed bars, or none at all, the newest of them is the newest there is: memory
    must not hide that the last session's bar is missing.
    """
    if not isinstance(saved, list) or not bars:
        return shown
    newest = max(shown, default=math.inf)
    return {float(end): float(close) for end, close in saved if end < newest} | shown
