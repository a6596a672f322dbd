"""Daily closes of symbols, as the pre-market scan and the end-of-day report need them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from exporter.calendars import Calendar
from exporter.sources.base import Bar, Source, SourceError


@dataclass(frozen=True)
class DailyCloses:
    """Closed daily bars by symbol, ascending (end, bar), and what went wrong for the others."""

    bars: dict[str, list[tuple[float, Bar]]]
    problems: dict[str, str]


async def daily_closes(
    source: Source, symbols: list[str], calendar: Calendar, now: float, *, wanted: int
) -> DailyCloses:
    """At least `wanted` closed daily bars of each symbol, where the source has them.

    One batched request first; symbols for which it says too little (some sources answer with the
    forming bar alone) are asked for one by one. The source's budget paces all of it.
    """
    problems: dict[str, str] = {}
    bars: dict[str, list[tuple[float, Bar]]] = {}
    try:
        answer = await source.latest(symbols, "1d")
    except SourceError as error:
        return DailyCloses({}, dict.fromkeys(symbols, str(error)))
    problems.update({symbol: str(error) for symbol, error in answer.bad.items()})
    for symbol, found in answer.good.items():
        bars[symbol] = closed(found, calendar, now)

    async def one(symbol: str) -> None:
        try:
            bars[symbol] = closed(await source.recent(symbol, "1d", wanted + 2), calendar, now)
        except SourceError as error:
            problems[symbol] = str(error)

    lacking = [s for s in symbols if s not in answer.bad and len(bars.get(s, [])) < wanted]
    await asyncio.gather(*(one(symbol) for symbol in lacking))
    return DailyCloses(bars, problems)


def closed(bars: Iterable[Bar], calendar: Calendar, now: float) -> list[tuple[float, Bar]]:
    """The daily bars whose session has ended, ascending, each with its end."""
    ends = sorted(((calendar.bar_end(bar.start, "1d"), bar) for bar in bars), key=lambda e: e[0])
    return [(end, bar) for end, bar in ends if end <= now]
